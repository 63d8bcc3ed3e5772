// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import TestSupport
import Testing

/// A file as a block device.
struct LoopDevice {
    let path: String

    private static let losetup = Program("losetup")

    /// Whether there are any: that takes the administrator's rights and a kernel with loop devices.
    static let areAvailable: Bool = geteuid() == 0 && access("/dev/loop-control", W_OK) == 0 && losetup.isInstalled
    static let missing: Comment = "no loop devices, or not the administrator"

    /// Calls `body` with a device of which every byte is `0x5A`.
    static func with(
        length: Int, in directory: TemporaryDirectory, _ body: (LoopDevice) async throws -> Void
    ) async throws {
        let file = try directory.write([UInt8](repeating: 0x5A, count: length), to: "device")
        let result = try await losetup.runSuccessfully(["--find", "--show", file.string])
        let device = LoopDevice(path: String(result.standardOutput.prefix { $0 != "\n" }))
        do {
            try await body(device)
        } catch {
            try await losetup.runSuccessfully(["--detach", device.path])
            throw error
        }
        try await losetup.runSuccessfully(["--detach", device.path])
    }
}
