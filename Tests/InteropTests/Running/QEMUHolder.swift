// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport

/// A QEMU program that has an image open.
enum QEMUHolder: String, Sendable, CaseIterable {
    case qemuIO, storageDaemon

    /// Those that are installed.
    static let present = allCases.filter { $0 == .qemuIO || Program.qemuStorageDaemon.isInstalled }

    /// Opens the image, and comes back once QEMU has it.
    func open(_ path: FilePath, format: String = "qcow2", readOnly: Bool = false) async throws -> RunningProgram {
        switch self {
        case .qemuIO:
            let holder = try Program.qemuIO.start((readOnly ? ["-r"] : []) + ["-f", format, path.string])
            // Commands are carried out once the image is open.
            await holder.write("length\n")
            try await holder.waitForOutput("iB")
            return holder
        case .storageDaemon:
            // A raw disk takes the locks of a writer once it has one.
            let export = [
                "--nbd-server", "addr.type=unix,addr.path=\(path).sock",
                "--export", "type=nbd,id=export,node-name=disk,writable=\(readOnly ? "off" : "on")",
            ]
            let holder = try Program.qemuStorageDaemon.start(
                [
                    "--blockdev",
                    "driver=\(format),node-name=disk,read-only=\(readOnly ? "on" : "off"),file.driver=file,"
                        + "file.filename=\(path)",
                ] + export + ["--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor"])
            // The greeting comes after the block devices are there.
            try await holder.waitForOutput("QMP")
            return holder
        }
    }

    /// Ends it, as a shutdown of the virtual machine would.
    static func close(_ holder: RunningProgram) async throws {
        holder.signal(15)
        _ = try await holder.wait()
    }
}
