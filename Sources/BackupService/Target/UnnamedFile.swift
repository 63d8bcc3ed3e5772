// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc

/// A file that is being written and has not got its name yet. Locked as long as it is open.
struct UnnamedFile: Sendable {
    let place: FilePlace
    let device: FileDevice

    /// Removes the file, unless it has got its name: what is called `.partial` then is another run's.
    func remove() {
        let status = try? FileStatus(path: place.partialPath, followsLink: false)
        if status?.identity == device.identity {
            _ = unlink(place.partialPath)
        }
    }
}
