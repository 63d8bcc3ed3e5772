// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// A kind of backup that is disturbed in every way.
struct FaultScenario: Sendable, CustomTestStringConvertible {
    /// What is at the target's path before the run.
    enum Before: Sendable {
        case nothing
        /// An image that the run is to replace.
        case oldImage
        /// An empty image, of the source's length, that the run is to write into.
        case emptyImage
        /// A raw file of the source's length, full of bytes, that the run is to write into.
        case fullRaw
    }

    let name: String
    /// `FOLDER` stands for the folder of the images.
    let arguments: [String]
    let before: Before
    var isRaw = false

    var isRestore: Bool { arguments.first == "restore" }

    var testDescription: String { name }

    static let all: [FaultScenario] = [
        FaultScenario(name: "full", arguments: ["--sync=full"], before: .nothing),
        FaultScenario(name: "top, compressed", arguments: ["--sync=top", "--compress"], before: .nothing),
        FaultScenario(name: "full, replacing", arguments: ["--force", "--compression-type=zstd"], before: .oldImage),
        FaultScenario(
            name: "full, with a data file", arguments: ["-o", "data_file=FOLDER/target.data"], before: .nothing),
        FaultScenario(name: "full, onto an image", arguments: ["-n"], before: .emptyImage),
        FaultScenario(name: "raw", arguments: ["-O", "raw", "--copy-range=on"], before: .nothing, isRaw: true),
        FaultScenario(name: "raw, onto a file", arguments: ["-O", "raw", "-n"], before: .fullRaw, isRaw: true),
        FaultScenario(
            name: "restored into place", arguments: ["restore", "--force", "-O", "raw"], before: .oldImage, isRaw: true),
    ]
}
