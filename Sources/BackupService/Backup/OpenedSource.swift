// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format

/// The disk that a run copies.
struct OpenedSource: Sendable {
    let disk: OpenedDisk
    /// How the image is laid out whose place the target takes; `nil` where that doesn't count.
    var layout: Qcow2Options?
    /// What proves the disk while it is read; `nil` for a disk that is no backup, or is not to be proven.
    var proof: ChainProof?

    /// What is read.
    var device: any BlockDevice { proof?.device ?? disk.device }
}
