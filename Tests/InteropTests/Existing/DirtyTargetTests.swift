// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// An image that a killed QEMU left with refcounts to be repaired is not written into, and the advice that is given helps.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct DirtyTargetTests {
    @Test func advice() async throws {
        let directory = try TemporaryDirectory()
        let (source, target) = (directory.file("source.raw"), directory.file("target.qcow2"))
        try directory.write([UInt8](repeating: 7, count: 1 << 20), to: "source.raw")
        try await Peers.create(target, "lazy_refcounts=on", 1 << 20)
        let crash = try await Program.qemuIO.run(
            ["-f", "qcow2", "-c", "write -q 0 1M", "-c", "flush", "-c", "abort", target.string])
        try #require(crash.exitCode != 0)

        let refused = try await Program.qcowbackup.run(["-n", source.string, target.string])
        #expect(refused.exitCode == 1, "\(refused)")
        let advice = try #require(refused.standardError.firstMatch(of: /\((qcowbackup check [^)]*)\)/)).1
        try await Program.qcowbackup.runSuccessfully(
            advice.split(separator: " ").dropFirst().map(String.init) + [target.string])
        try await Peers.backUp(source, to: target, ["-n"])
        try await Peers.expectClean(target)
        try await Peers.expectEqual(source.string, "raw", target.string)
    }
}
