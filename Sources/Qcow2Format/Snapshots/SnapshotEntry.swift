// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// The fixed fields of an entry of the snapshot table. Extra data, the id and the name follow them.
///
/// Spec: “Snapshots”.
struct SnapshotEntry {
    /// Bytes of the fixed fields.
    static let fixedLength: UInt64 = 40

    let l1TableOffset: UInt64
    /// Number of entries.
    let l1Size: UInt32
    /// Bytes of the id.
    let idLength: UInt64
    /// Bytes of the name.
    let nameLength: UInt64
    let dateSeconds: UInt32
    let dateNanoseconds: UInt32
    let vmClockNanoseconds: UInt64
    let vmStateSize: UInt32
    /// Bytes of extra data.
    let extraLength: UInt64

    /// Bytes of extra data that every entry of a version 3 image has: the size of the VM state and that of the disk.
    static let requiredExtraLength: UInt64 = 16
    /// More extra data than any version has.
    static let maximumExtraLength: UInt64 = 1024

    enum ExtraDefect {
        case tooShort, tooLong
    }

    /// What is wrong with the extra data; `nil` for nothing.
    func extraDefect(version: UInt32) -> ExtraDefect? {
        if extraLength > Self.maximumExtraLength { return .tooLong }
        return version >= 3 && extraLength < Self.requiredExtraLength ? .tooShort : nil
    }

    /// Bytes that follow the fixed fields: below 2^33.
    var variableLength: UInt64 { extraLength + idLength + nameLength }

    /// Decodes the fields. What they say is not checked.
    ///
    /// - Throws: where there are fewer than `fixedLength` bytes.
    init(decoding bytes: RawSpan) throws(OutOfBoundsField) {
        l1TableOffset = try bytes.bigEndian(at: 0)
        l1Size = try bytes.bigEndian(at: 8)
        idLength = UInt64(try bytes.bigEndian(at: 12, as: UInt16.self))
        nameLength = UInt64(try bytes.bigEndian(at: 14, as: UInt16.self))
        dateSeconds = try bytes.bigEndian(at: 16)
        dateNanoseconds = try bytes.bigEndian(at: 20)
        vmClockNanoseconds = try bytes.bigEndian(at: 24)
        vmStateSize = try bytes.bigEndian(at: 32)
        extraLength = UInt64(try bytes.bigEndian(at: 36, as: UInt32.self))
    }
}
