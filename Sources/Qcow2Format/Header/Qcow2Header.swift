// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// The fields of an image header, as they are stored.
///
/// Nothing is checked here beyond what it takes to find the fields; `ImageLayout` does the checking.
///
/// Spec: “Header”.
struct Qcow2Header: Sendable, Equatable {
    /// “QFI” and 0xfb.
    static let magic: UInt32 = 0x5146_49fb
    /// Bytes of a version 2 header.
    static let version2Length = 72
    /// Bytes of the shortest version 3 header.
    static let version3Length = 104
    /// Bytes of a header with a compression type, padded to 8.
    static let fullLength = 112

    var version: UInt32 = 3
    var backingFileOffset: UInt64 = 0
    var backingFileLength: UInt32 = 0
    var clusterBits: UInt32 = 16
    /// Virtual size in bytes.
    var size: UInt64 = 0
    var encryptionMethod: UInt32 = 0
    /// Number of entries.
    var l1Size: UInt32 = 0
    var l1TableOffset: UInt64 = 0
    var refcountTableOffset: UInt64 = 0
    var refcountTableClusters: UInt32 = 0
    var snapshotCount: UInt32 = 0
    var snapshotsOffset: UInt64 = 0
    var incompatibleFeatures: IncompatibleFeatures = []
    var compatibleFeatures: CompatibleFeatures = []
    var autoclearFeatures: AutoclearFeatures = []
    var refcountOrder: UInt32 = 4
    var headerLength: UInt32 = UInt32(Self.fullLength)
    var compressionType: UInt8 = 0
    /// Header bytes from offset 105 on: padding, and fields of a future version, kept as they are.
    var trailingFields: [UInt8] = []

    init() {}

    /// Decodes the fixed fields.
    ///
    /// - Parameter bytes: the file from its start on, as much of its first cluster as there is.
    init(decoding bytes: RawSpan) throws(Qcow2Error.Problem) {
        do {
            guard try bytes.bigEndian(at: 0) == Self.magic else { throw Qcow2Error.Problem.notQcow2 }
            version = try bytes.bigEndian(at: 4)
            guard version == 2 || version == 3 else { throw Qcow2Error.Problem.version(version) }
            backingFileOffset = try bytes.bigEndian(at: 8)
            backingFileLength = try bytes.bigEndian(at: 16)
            clusterBits = try bytes.bigEndian(at: 20)
            size = try bytes.bigEndian(at: 24)
            encryptionMethod = try bytes.bigEndian(at: 32)
            l1Size = try bytes.bigEndian(at: 36)
            l1TableOffset = try bytes.bigEndian(at: 40)
            refcountTableOffset = try bytes.bigEndian(at: 48)
            refcountTableClusters = try bytes.bigEndian(at: 56)
            snapshotCount = try bytes.bigEndian(at: 60)
            snapshotsOffset = try bytes.bigEndian(at: 64)
            guard version == 3 else {
                headerLength = UInt32(Self.version2Length)
                return
            }
            incompatibleFeatures = IncompatibleFeatures(rawValue: try bytes.bigEndian(at: 72))
            compatibleFeatures = CompatibleFeatures(rawValue: try bytes.bigEndian(at: 80))
            autoclearFeatures = AutoclearFeatures(rawValue: try bytes.bigEndian(at: 88))
            refcountOrder = try bytes.bigEndian(at: 96)
            headerLength = try bytes.bigEndian(at: 100)
            guard headerLength > Self.version3Length else { return }
            compressionType = try bytes.bigEndian(at: 104)
            let end = Int(min(UInt64(headerLength), UInt64(bytes.byteCount)))
            trailingFields = try bytes.bytes(at: 105, count: max(end - 105, 0))
        } catch let problem as Qcow2Error.Problem {
            throw problem
        } catch {
            throw .truncatedHeader(length: UInt64(bytes.byteCount))
        }
    }

    /// The fixed fields, `headerLength` bytes of them.
    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(headerLength))
        bytes.appendBigEndian(Self.magic)  // 0: magic
        bytes.appendBigEndian(version)  // 4: version
        bytes.appendBigEndian(backingFileOffset)  // 8: backing_file_offset
        bytes.appendBigEndian(backingFileLength)  // 16: backing_file_size
        bytes.appendBigEndian(clusterBits)  // 20: cluster_bits
        bytes.appendBigEndian(size)  // 24: size
        bytes.appendBigEndian(encryptionMethod)  // 32: crypt_method
        bytes.appendBigEndian(l1Size)  // 36: l1_size
        bytes.appendBigEndian(l1TableOffset)  // 40: l1_table_offset
        bytes.appendBigEndian(refcountTableOffset)  // 48: refcount_table_offset
        bytes.appendBigEndian(refcountTableClusters)  // 56: refcount_table_clusters
        bytes.appendBigEndian(snapshotCount)  // 60: nb_snapshots
        bytes.appendBigEndian(snapshotsOffset)  // 64: snapshots_offset
        guard version == 3 else { return bytes }
        bytes.appendBigEndian(incompatibleFeatures.rawValue)  // 72: incompatible_features
        bytes.appendBigEndian(compatibleFeatures.rawValue)  // 80: compatible_features
        bytes.appendBigEndian(autoclearFeatures.rawValue)  // 88: autoclear_features
        bytes.appendBigEndian(refcountOrder)  // 96: refcount_order
        bytes.appendBigEndian(headerLength)  // 100: header_length
        guard headerLength > Self.version3Length else { return bytes }
        bytes.append(compressionType)  // 104: compression_type
        bytes += trailingFields  // 105: padding and what we don't know
        let missing = Int(headerLength) - bytes.count
        if missing > 0 {
            bytes += [UInt8](repeating: 0, count: missing)
        }
        return bytes
    }
}
