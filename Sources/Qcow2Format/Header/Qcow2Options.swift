// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// How a new image is laid out.
package struct Qcow2Options: Sendable, Equatable {
    /// Virtual size in bytes.
    package var size: UInt64
    /// Log2 of the cluster size, 9 to 21.
    package var clusterBits = 16
    /// 3, or 2 for readers as old as QEMU 0.10.
    package var version: UInt32 = 3
    /// Log2 of the refcounts' width in bits, 0 to 6.
    package var refcountOrder = 4
    package var compressionType = CompressionType.zlib
    /// Whether clusters are divided into subclusters.
    package var hasExtendedL2 = false
    /// Whether programs that change the image later may delay its refcounts.
    package var hasLazyRefcounts = false
    /// As it is recorded.
    package var backingFileName: String?
    /// `raw` or `qcow2`, recorded with the backing file.
    package var backingFormat: String?
    /// Name of the external data file, as it is recorded.
    package var dataFileName: String?
    /// Whether the data file can be read as a raw disk at all times.
    package var isDataFileRaw = false
    /// Which backup the image is; `nil` for one that is none.
    package var identity: BackupIdentity?

    package init(size: UInt64) {
        self.size = size
    }

    /// Checks that an image with these options can be made. `Qcow2Image.create` checks that as well, but only once there
    /// is a file.
    package func check() throws(Qcow2Error.Problem) {
        _ = try headerCluster()
    }

    /// Checks that the options go together.
    func validate() throws(Qcow2Error.Problem) {
        guard version == 2 || version == 3 else { throw .option(name: "compat", rule: "it is 0.10 or 1.1") }
        guard ClusterGeometry.clusterBitsRange.contains(clusterBits) else {
            throw .option(name: "cluster_size", rule: "it is a power of two from 512 to 2M")
        }
        guard (0...Int(Qcow2Limits.refcountOrder)).contains(refcountOrder) else {
            throw .option(name: "refcount_bits", rule: "it is a power of two from 1 to 64")
        }
        if version == 2 {
            guard refcountOrder == 4 else { throw .option(name: "refcount_bits", rule: "compat=0.10 has 16 only") }
            guard compressionType == .zlib else {
                throw .option(name: "compression_type", rule: "compat=0.10 has zlib only")
            }
            guard !hasExtendedL2 else { throw .option(name: "extended_l2", rule: "it needs compat=1.1") }
            guard !hasLazyRefcounts else { throw .option(name: "lazy_refcounts", rule: "it needs compat=1.1") }
            guard dataFileName == nil else { throw .option(name: "data_file", rule: "it needs compat=1.1") }
        }
        if hasExtendedL2, clusterBits < ClusterGeometry.extendedMinimumClusterBits {
            throw .option(name: "extended_l2", rule: "it needs a cluster_size of at least 16K")
        }
        if isDataFileRaw {
            guard dataFileName != nil else { throw .option(name: "data_file_raw", rule: "it needs data_file") }
            guard backingFileName == nil else {
                throw .option(name: "data_file_raw", rule: "a raw data file can't have a backing file behind it")
            }
        }
        guard size <= Qcow2Limits.virtualSize else {
            throw .tooLarge(what: "the disk of \(size) bytes", limit: "disks end below 2^63 bytes")
        }
        let geometry = ClusterGeometry(clusterBits: clusterBits, hasSubclusters: hasExtendedL2)
        guard geometry.l1EntryCount(forLength: size) * 8 <= Qcow2Limits.l1TableLength else {
            throw .tooLarge(
                what: "the disk of \(size) bytes",
                limit: "with clusters of \(geometry.clusterLength) bytes its L1 table would pass "
                    + "\(Qcow2Limits.l1TableLength) bytes; use a larger cluster_size")
        }
    }

    /// The header of an image with these options; where its tables are is filled in later.
    func headerCluster() throws(Qcow2Error.Problem) -> HeaderCluster {
        try validate()
        var header = Qcow2Header()
        header.version = version
        header.clusterBits = UInt32(clusterBits)
        header.size = size
        header.refcountOrder = UInt32(refcountOrder)
        header.headerLength = UInt32(version == 2 ? Qcow2Header.version2Length : Qcow2Header.fullLength)
        header.compressionType = compressionType.rawValue
        if compressionType != .zlib { header.incompatibleFeatures.insert(.compressionType) }
        if hasExtendedL2 { header.incompatibleFeatures.insert(.extendedL2) }
        if dataFileName != nil { header.incompatibleFeatures.insert(.externalDataFile) }
        if hasLazyRefcounts { header.compatibleFeatures.insert(.lazyRefcounts) }
        if isDataFileRaw { header.autoclearFeatures.insert(.rawExternalData) }
        var extensions: [HeaderExtension] = []
        if let backingFormat, backingFileName != nil {
            extensions.append(
                HeaderExtension(type: HeaderExtension.backingFormat, data: Array(backingFormat.utf8)))
        }
        if let dataFileName {
            extensions.append(HeaderExtension(type: HeaderExtension.externalDataFile, data: Array(dataFileName.utf8)))
        }
        if version >= 3 {
            // The names help readers that don't know a feature to say so.
            extensions.append(
                HeaderExtension(type: HeaderExtension.featureNameTable, data: FeatureNameTable.ours))
        }
        var cluster = HeaderCluster(header: header, extensions: extensions, backingFileName: backingFileName)
        var identity = identity
        identity?.parent?.nameStamp = BackupIdentity.stamp(of: backingFileName)
        cluster.identity = identity
        _ = try cluster.fitted()
        return cluster
    }
}
