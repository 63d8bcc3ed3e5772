// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Clusters that were allocated and never written lie in holes of the file: they are zeroes that nobody reads, in disks, in
/// what lies behind them, and in every command.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct PreallocatedTests {
    private static let size: UInt64 = 16 << 30
    private static let writes = ["write -q -P 7 0 64k", "write -q -P 8 5G 1M", "write -q -P 9 16777152k 64k"]

    private struct Summary: Decodable {
        let read: UInt64

        enum CodingKeys: String, CodingKey { case read = "bytes-read" }
    }

    private static func bytesRead(_ arguments: [String]) async throws -> UInt64 {
        let result = try await Program.qcowbackup.runSuccessfully(["--output=json"] + arguments)
        return try JSONDecoder().decode(Summary.self, from: Data(result.outputBytes)).read
    }

    @Test(arguments: ["cluster_size=64k", "cluster_size=2M", "cluster_size=64k,extended_l2=on"])
    func disk(options: String) async throws {
        try await withTemporaryDirectory { directory in
            let (disk, target) = (directory.file("disk.qcow2"), directory.file("target.qcow2"))
            try await Peers.create(disk, options + ",preallocation=metadata", Self.size)
            try await Peers.io(disk, Self.writes)
            // Where holes are as small as the file system's blocks, more is read than was written.
            #expect(try await Self.bytesRead([disk.string, target.string]) <= 8 << 20)
            try await Peers.expectClean(target)
            try await Peers.expectEqual(disk.string, "qcow2", target.string)
            try await Program.qcowbackup.runSuccessfully(["verify", "-q", target.string])
            let compared = try await Program.qcowbackup.run(["compare", disk.string, target.string])
            #expect(compared.exitCode == 0, "\(compared)")
        }
    }

    @Test func chain() async throws {
        try await withTemporaryDirectory { directory in
            let (base, top) = (directory.file("base.qcow2"), directory.file("top.qcow2"))
            let (full, upper) = (directory.file("full.qcow2"), directory.file("upper.qcow2"))
            try await Peers.create(base, "preallocation=metadata", Self.size)
            try await Peers.io(base, Self.writes)
            try await Peers.create(top, "", Self.size, backing: base)
            try await Peers.io(top, ["write -q -P 1 6G 256k", "write -q -z 5G 64k"])
            #expect(try await Self.bytesRead([top.string, full.string]) <= 8 << 20)
            try await Peers.expectEqual(top.string, "qcow2", full.string)
            #expect(try await Self.bytesRead(["--sync=top", top.string, upper.string]) <= 1 << 20)
            try await Peers.expectEqual(top.string, "qcow2", upper.string)
        }
    }
}
