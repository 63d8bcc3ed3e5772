// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

extension BlockDevice {
    /// The disk itself, without the wrapper by which guests use it.
    var underlyingDisk: any BlockDevice {
        (self as? GuestDevice)?.disk ?? self
    }

    /// Whether `other` is this disk or shows through it.
    func isBacked(by other: any BlockDevice) -> Bool {
        let sought = other.underlyingDisk
        var layer: (any BlockDevice)? = self
        while let present = layer?.underlyingDisk {
            if present === sought { return true }
            layer = present.backing
        }
        return false
    }
}
