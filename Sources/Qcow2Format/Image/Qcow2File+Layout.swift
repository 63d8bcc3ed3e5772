// SPDX-License-Identifier: GPL-2.0-or-later

extension Qcow2File {
    /// How the image is laid out, as options for another one like it. What it says of other files is left out.
    public var layoutOptions: Qcow2Options {
        var options = Qcow2Options(size: layout.size)
        options.version = layout.version
        options.clusterBits = Int(header.header.clusterBits)
        options.refcountOrder = Int(header.header.refcountOrder)
        options.compressionType = layout.compressionType
        options.hasExtendedL2 = header.header.incompatibleFeatures.contains(.extendedL2)
        options.hasLazyRefcounts = header.header.compatibleFeatures.contains(.lazyRefcounts)
        return options
    }

    /// Number of internal snapshots, as the header says.
    public var snapshotCount: UInt32 { header.header.snapshotCount }
}
