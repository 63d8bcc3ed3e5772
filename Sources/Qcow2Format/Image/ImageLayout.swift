// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// The checked geometry of an image. That it exists proves that the header's numbers keep the format's rules.
struct ImageLayout: Sendable {
    let version: UInt32
    let geometry: ClusterGeometry
    let refcounts: RefcountCodec
    /// Virtual size in bytes.
    let size: UInt64
    let compressionType: CompressionType
    let hasExternalDataFile: Bool

    /// The geometry of a new image, whose options have been checked.
    init(
        version: UInt32, geometry: ClusterGeometry, refcounts: RefcountCodec, size: UInt64,
        compressionType: CompressionType, hasExternalDataFile: Bool
    ) {
        self.version = version
        self.geometry = geometry
        self.refcounts = refcounts
        self.size = size
        self.compressionType = compressionType
        self.hasExternalDataFile = hasExternalDataFile
    }

    /// - Parameters:
    ///   - fileLength: bytes of the image file.
    ///   - forInspection: whether nothing is read but the header: then the data may be encrypted, and the file may end
    ///     before its tables.
    init(
        _ header: Qcow2Header, names: FeatureNameTable, fileLength: UInt64, forInspection: Bool = false
    ) throws(Qcow2Error.Problem) {
        version = header.version
        if !forInspection || EncryptionMethod(rawValue: header.encryptionMethod) == nil {
            try Self.checkEncryption(header.encryptionMethod)
        }
        let unknown = header.incompatibleFeatures.subtracting(.supported)
        guard unknown.isEmpty else { throw .incompatibleFeatures(names.names(of: unknown)) }
        hasExternalDataFile = header.incompatibleFeatures.contains(.externalDataFile)
        geometry = try Self.geometry(header)
        try Self.checkRefcountOrder(header)
        refcounts = RefcountCodec(order: Int(header.refcountOrder))
        size = Self.diskLength(header)
        compressionType = try Self.compressionType(header)
        // Files have less than 2^63 bytes.
        try Self.checkL1(header, geometry: geometry, fileLength: forInspection ? UInt64(Int64.max) : fileLength)
    }

    /// Bytes of the disk: whole sectors, as guests see it, whatever the header says.
    static func diskLength(_ header: Qcow2Header) -> UInt64 { header.size & ~511 }

    static func checkEncryption(_ method: UInt32) throws(Qcow2Error.Problem) {
        switch method {
        case 0: return
        case 1: throw .encrypted(method: "AES")
        case 2: throw .encrypted(method: "LUKS")
        default: throw .encrypted(method: "unknown method \(method)")
        }
    }

    /// Checks what must hold before the first cluster can be found.
    static func checkClusterBits(_ header: Qcow2Header) throws(Qcow2Error.Problem) {
        guard let bits = Int(exactly: header.clusterBits), ClusterGeometry.clusterBitsRange.contains(bits) else {
            throw .headerField(
                name: "cluster_bits", value: UInt64(header.clusterBits), rule: "clusters have 9 to 21 bits")
        }
        let lowest = header.version == 2 ? Qcow2Header.version2Length : Qcow2Header.version3Length
        guard header.headerLength >= lowest, UInt64(header.headerLength) <= UInt64(1) << UInt64(bits) else {
            throw .headerField(
                name: "header_length", value: UInt64(header.headerLength),
                rule: "it is at least \(lowest) and at most the cluster size")
        }
    }

    static func geometry(_ header: Qcow2Header) throws(Qcow2Error.Problem) -> ClusterGeometry {
        let hasSubclusters = header.incompatibleFeatures.contains(.extendedL2)
        if hasSubclusters, header.clusterBits < ClusterGeometry.extendedMinimumClusterBits {
            throw .headerField(
                name: "cluster_bits", value: UInt64(header.clusterBits),
                rule: "too small: extended L2 entries need at least \(ClusterGeometry.extendedMinimumClusterBits)")
        }
        return ClusterGeometry(clusterBits: Int(header.clusterBits), hasSubclusters: hasSubclusters)
    }

    static func checkRefcountOrder(_ header: Qcow2Header) throws(Qcow2Error.Problem) {
        guard header.refcountOrder <= Qcow2Limits.refcountOrder else {
            throw .headerField(
                name: "refcount_order", value: UInt64(header.refcountOrder), rule: "too large: at most 6, for 64 bits")
        }
    }

    static func compressionType(_ header: Qcow2Header) throws(Qcow2Error.Problem) -> CompressionType {
        guard let type = CompressionType(rawValue: header.compressionType) else {
            throw .headerField(
                name: "compression_type", value: UInt64(header.compressionType),
                rule: "not supported; 0 (zlib) and 1 (zstd) are")
        }
        guard header.incompatibleFeatures.contains(.compressionType) == (type != .zlib) else {
            throw .headerField(
                name: "compression_type", value: UInt64(header.compressionType),
                rule: "it contradicts the incompatible feature bit for compression types")
        }
        return type
    }

    static func checkL1(
        _ header: Qcow2Header, geometry: ClusterGeometry, fileLength: UInt64
    ) throws(Qcow2Error.Problem) {
        guard header.size <= Qcow2Limits.virtualSize else {
            throw .headerField(name: "size", value: header.size, rule: "too large: disks end below 2^63 bytes")
        }
        let length = UInt64(header.l1Size) * 8
        guard length <= Qcow2Limits.l1TableLength else {
            throw .headerField(
                name: "l1_size", value: UInt64(header.l1Size),
                rule: "the L1 table is too large: at most \(Qcow2Limits.l1TableLength / 8) entries")
        }
        let needed = geometry.l1EntryCount(forLength: header.size)
        guard UInt64(header.l1Size) >= needed else {
            throw .headerField(
                name: "l1_size", value: UInt64(header.l1Size),
                rule: "the L1 table is too small: the disk needs \(needed) entries")
        }
        // All of it: an L1 table that is not there would make a disk of zeroes.
        try checkTable(
            .l1Table, offset: header.l1TableOffset, length: length, clusterLength: geometry.clusterLength,
            fileLength: fileLength)
    }

    /// Checks what doesn't matter for reading.
    static func checkRefcountTable(
        _ header: Qcow2Header, clusterLength: UInt64, fileLength: UInt64
    ) throws(Qcow2Error.Problem) {
        let clusters = UInt64(header.refcountTableClusters)
        // At most 2^32 clusters of 2 MiB.
        let length = clusters * clusterLength
        guard clusters > 0 else {
            throw .headerField(
                name: "refcount_table_clusters", value: clusters, rule: "too small: there must be a refcount table")
        }
        guard length <= Qcow2Limits.refcountTableLength else {
            throw .headerField(
                name: "refcount_table_clusters", value: clusters,
                rule: "the refcount table is too large: at most \(Qcow2Limits.refcountTableLength) bytes")
        }
        try checkTable(
            .refcountTable, offset: header.refcountTableOffset, length: length, clusterLength: clusterLength,
            fileLength: fileLength, mayBeCut: true)
    }

    /// Whether a cluster or more of a range lies behind the end of the file. Images may end anywhere in their last cluster:
    /// the rest of it is zeroes.
    static func isPastEnd(offset: UInt64, length: UInt64, fileLength: UInt64, clusterLength: UInt64) -> Bool {
        guard let end = offset.adding(length) else { return true }
        return end >= fileLength && end - fileLength >= clusterLength
    }

    /// Checks that a table lies in the file, aligned, behind the header.
    ///
    /// - Parameter mayBeCut: whether the last cluster may be there in part only.
    static func checkTable(
        _ structure: Qcow2Error.Structure, offset: UInt64, length: UInt64, clusterLength: UInt64, fileLength: UInt64,
        mayBeCut: Bool = false
    ) throws(Qcow2Error.Problem) {
        guard length > 0 else { return }
        guard offset.isAligned(to: clusterLength) else { throw .notAligned(structure, offset: offset) }
        guard offset != 0 else { throw .overlaps(structure, offset: offset) }
        let isThere =
            mayBeCut
            ? !isPastEnd(offset: offset, length: length, fileLength: fileLength, clusterLength: clusterLength)
            : offset.adding(length).map { $0 <= fileLength } ?? false
        guard isThere else {
            throw .pastEnd(structure, offset: offset, fileLength: fileLength)
        }
    }
}
