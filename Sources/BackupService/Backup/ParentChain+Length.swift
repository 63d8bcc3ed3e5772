// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format

extension ParentChain {
    /// Images in a chain from which on it should come to an end: each costs its reader an open file and a look into its
    /// tables, and libvirt opens 200 at most.
    static let lengthToWarnOf = 100

    /// Refuses a chain to which nothing can be added, and warns of one that gets long.
    func checkLength(warn: (String) -> Void) throws(ServiceError) {
        try Self.checkLength(ofParent: disk.layers.count, disk.layers[0].path, warn: warn)
    }

    static func checkLength(
        ofParent count: Int, _ path: String, warn: (String) -> Void
    ) throws(ServiceError) {
        guard count < DiskOpener.longestChain else {
            throw ServiceError(
                .unsupported, "the chain of \(path) has \(count) images: nothing would open one more",
                advice: "--sync=full starts a new chain; restore --compress makes one backup of this one")
        }
        if count + 1 > lengthToWarnOf {
            warn(
                "the chain has \(count + 1) images with this one, and can't have more than \(DiskOpener.longestChain): "
                    + "start a new one with --sync=full")
        }
    }
}
