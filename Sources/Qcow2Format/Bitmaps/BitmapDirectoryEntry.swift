// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// An entry of the bitmap directory: what a persistent bitmap is called, and where its bits are.
///
/// Spec: “Bitmap directory”.
struct BitmapDirectoryEntry: Sendable, Equatable {
    /// The only type there is: a dirty tracking bitmap.
    private static let dirtyTracking: UInt8 = 1
    /// Bytes of the fields that every entry has.
    private static let fixedLength = 24
    /// Bytes of an entry with a name of one byte.
    static let smallestLength: UInt64 = 32

    var tableOffset: UInt64
    /// Number of entries in the bitmap table.
    var tableSize: UInt32
    var flags: BitmapFlags
    var granularityBits: UInt8
    /// Bytes, because names need not be text.
    let nameBytes: [UInt8]
    /// Kept as it is.
    let extraData: [UInt8]

    init(
        nameBytes: [UInt8], granularityBits: UInt8, flags: BitmapFlags, tableOffset: UInt64 = 0, tableSize: UInt32 = 0,
        extraData: [UInt8] = []
    ) {
        self.nameBytes = nameBytes
        self.granularityBits = granularityBits
        self.flags = flags
        self.tableOffset = tableOffset
        self.tableSize = tableSize
        self.extraData = extraData
    }

    /// What is no text becomes a replacement character.
    var name: String { String(decoding: nameBytes, as: UTF8.self) }

    /// Why the bits can't be relied on; `nil` where they can.
    var defect: BitmapDefect? {
        if flags.contains(.inUse) { return .inconsistent }
        if !extraData.isEmpty, !flags.contains(.extraDataCompatible) { return .unknownExtraData }
        return nil
    }

    // MARK: Decoding

    /// Decodes the entry at an offset of the directory. Where its table lies is not checked here.
    ///
    /// - Parameter offset: in the directory; the entry's end is `offset + encodedLength`.
    init(decoding directory: RawSpan, at offset: Int) throws(Qcow2Error.Problem) {
        let type: UInt8
        let nameLength: UInt16
        let extraLength: UInt32
        do {
            tableOffset = try directory.bigEndian(at: offset)
            tableSize = try directory.bigEndian(at: offset + 8)
            flags = BitmapFlags(rawValue: try directory.bigEndian(at: offset + 12))
            type = try directory.bigEndian(at: offset + 16)
            granularityBits = try directory.bigEndian(at: offset + 17)
            nameLength = try directory.bigEndian(at: offset + 18)
            extraLength = try directory.bigEndian(at: offset + 20)
            // Offsets in the directory are below 2^26.
            extraData = try directory.bytes(at: offset + Self.fixedLength, count: Int(extraLength))
            nameBytes = try directory.bytes(
                at: offset + Self.fixedLength + Int(extraLength), count: Int(nameLength))
        } catch {
            throw .bitmapDirectory(rule: "the entry at byte \(offset) reaches past its end")
        }
        guard !nameBytes.isEmpty else { throw .bitmapDirectory(rule: "the entry at byte \(offset) has no name") }
        guard nameBytes.count <= Qcow2Limits.bitmapNameLength else {
            throw .bitmapDirectory(
                rule: "the name at byte \(offset) is too long: \(nameBytes.count) bytes, at most "
                    + "\(Qcow2Limits.bitmapNameLength)")
        }
        guard type == Self.dirtyTracking else { throw broken("its type is \(type); only 1 is known") }
        let unknown = flags.subtracting(.known)
        guard unknown.isEmpty else {
            throw broken("its flags \(hex(flags.rawValue)) have reserved bits set")
        }
        guard Qcow2Limits.bitmapGranularityBits.contains(granularityBits) else {
            throw broken(
                "its granularity of 2^\(granularityBits) bytes is not supported; 2^9 to 2^31 are")
        }
    }

    /// Checks where the bitmap table lies, and how large it is.
    func checkTable(shape: BitmapShape, fileLength: UInt64) throws(Qcow2Error.Problem) {
        let size = UInt64(tableSize)
        guard size > 0 else { throw broken("its bitmap table is empty") }
        // Below 2^32 entries, and then below 2^27 of 2 MiB.
        guard size <= Qcow2Limits.bitmapTableSize, size * shape.clusterLength <= Qcow2Limits.bitmapLength else {
            throw broken(
                "its bitmap table of \(size) entries is too large: bitmaps have at most "
                    + "\(Qcow2Limits.bitmapLength) bytes")
        }
        // The disk may have changed its length since the bitmap was marked in use.
        guard flags.contains(.inUse) || size == shape.tableSize else {
            throw broken("its bitmap table has \(size) entries, and the disk needs \(shape.tableSize)")
        }
        try ImageLayout.checkTable(
            .bitmapTable, offset: tableOffset, length: size * 8, clusterLength: shape.clusterLength,
            fileLength: fileLength)
    }

    func broken(_ rule: String) -> Qcow2Error.Problem {
        .bitmap(name: name, rule: rule)
    }

    // MARK: Encoding

    /// Bytes with the padding to a multiple of 8.
    var encodedLength: Int {
        (Self.fixedLength + extraData.count + nameBytes.count + 7) & ~7
    }

    func append(to directory: inout [UInt8]) {
        let end = directory.count + encodedLength
        directory.appendBigEndian(tableOffset)  // 0: bitmap_table_offset
        directory.appendBigEndian(tableSize)  // 8: bitmap_table_size
        directory.appendBigEndian(flags.rawValue)  // 12: flags
        directory.append(Self.dirtyTracking)  // 16: type
        directory.append(granularityBits)  // 17: granularity_bits
        directory.appendBigEndian(UInt16(nameBytes.count))  // 18: name_size
        directory.appendBigEndian(UInt32(extraData.count))  // 20: extra_data_size
        directory += extraData  // 24: extra_data
        directory += nameBytes
        directory += [UInt8](repeating: 0, count: end - directory.count)
    }
}

/// Why a persistent bitmap can't be relied on, though it is well formed.
package enum BitmapDefect: Sendable, Equatable {
    /// It is marked in use: a program that should have kept it up to date ended before it saved it, or still runs.
    case inconsistent
    /// It carries extra data of an unknown kind, which forbids its use.
    case unknownExtraData
}

extension BitmapDefect: CustomStringConvertible {
    package var description: String {
        switch self {
        case .inconsistent:
            "is inconsistent: it is marked in use, so changes of the disk may be missing from it; it can only be removed"
        case .unknownExtraData:
            "has extra data of an unknown kind and must not be used; it can only be removed"
        }
    }
}

/// Flags of a bitmap directory entry.
///
/// Spec: “Bitmap directory”, bytes 12 to 15.
struct BitmapFlags: OptionSet, Sendable, Equatable {
    let rawValue: UInt32

    /// The stored bits may be out of date.
    static let inUse = BitmapFlags(rawValue: 1 << 0)
    /// Whoever writes to the disk must record it in the bitmap.
    static let auto = BitmapFlags(rawValue: 1 << 1)
    /// The bitmap may be used although its extra data are unknown.
    static let extraDataCompatible = BitmapFlags(rawValue: 1 << 2)

    static let known: BitmapFlags = [.inUse, .auto, .extraDataCompatible]
}
