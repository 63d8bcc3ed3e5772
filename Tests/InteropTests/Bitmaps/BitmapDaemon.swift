// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// A storage daemon that has an image open for writing, with its bitmaps, and exports it.
struct BitmapDaemon {
    let running: RunningProgram
    let socket: String

    /// Comes back once the image is open and exported.
    init(_ image: FilePath) async throws {
        socket = "\(image).sock"
        running = try Program.qemuStorageDaemon.start([
            "--blockdev", "driver=file,node-name=file,filename=\(image)",
            "--blockdev", "driver=qcow2,node-name=disk,file=file",
            "--nbd-server", "addr.type=unix,addr.path=\(socket)",
            "--export", "type=nbd,id=export,node-name=disk,writable=on",
            "--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor",
        ])
        try await running.waitForOutput("QMP")
        try await command("qmp_capabilities")
    }

    func command(_ name: String, _ arguments: String = "{}") async throws {
        let id = "\(name)-\(arguments.hashValue)"
        await running.write("{\"execute\": \"\(name)\", \"arguments\": \(arguments), \"id\": \"\(id)\"}\n")
        try await running.waitForOutput(id)
        try #require(!running.result.standardOutput.contains("\"error\""), "\(running.result)")
    }

    func write(_ commands: [String]) async throws {
        try await Program.qemuIO.runSuccessfully(
            ["-f", "raw"] + commands.flatMap { ["-c", $0] } + ["nbd+unix:///disk?socket=\(socket)"])
    }
}
