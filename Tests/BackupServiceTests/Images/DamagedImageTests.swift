// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// Images with flipped bits and cut ends are told of and mapped as far as that goes, or refused: nothing traps, and what
/// is listed is the disk from its start on, without gaps.
@Suite struct DamagedImageTests {
    private static let rounds = isHeavyRun ? 60 : 4

    private static func fixtures() throws -> [Fixture] {
        try Fixture.all().filter { $0.facts.error == nil && $0.facts.format == .qcow2 }
    }

    @Test(arguments: try fixtures())
    func damaged(_ fixture: Fixture) async throws {
        var random = SeededRandom(seed: fixture.name.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) })
        let directory = try TemporaryDirectory()
        let path = try fixture.copyIntoPlace(directory).string
        let whole = try Data(contentsOf: URL(filePath: path))
        for round in 0..<Self.rounds {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                // Mostly where the header and the tables are: in the header's fields, and at the start of a cluster.
                let cluster = Int.random(in: 0...(bytes.count - 1) / 512, using: &random) * 512
                let start = Bool.random(using: &random) ? 0 : cluster
                let index = min(start + Int.random(in: 0..<112, using: &random), bytes.count - 1)
                bytes[index] ^= UInt8(1 << Int.random(in: 0..<8, using: &random))
            }
            if round % 4 == 3 { bytes = bytes.prefix(Int.random(in: 0..<bytes.count, using: &random)) }
            try bytes.write(to: URL(filePath: path))
            await tell(of: path)
            await map(path)
        }
    }

    private func tell(of path: String) async {
        var request = InfoRequest(image: path)
        request.format = .qcow2
        request.followsChain = true
        do throws(ServiceError) {
            let report = try await InfoOperation(request) { _ in }.run()
            #expect(report.images.first?.path == path)
        } catch {
            #expect(!error.message.isEmpty && !error.message.contains("\n"))
        }
    }

    private func map(_ path: String) async {
        var request = MapRequest(image: path)
        request.format = .qcow2
        let ends = Locked<[UInt64]>([0])
        let isGapless = Locked(true)
        do throws(ServiceError) {
            try await MapOperation(request) { _ in }.run { entries in
                for entry in entries {
                    ends.withLock { ends in
                        if entry.start != ends[0] || entry.length == 0 { isGapless.withLock { $0 = false } }
                        ends[0] = entry.start + entry.length
                        if ends.count < 10_000 { ends.append(ends[0]) }
                    }
                }
                // A damaged size may be that of a disk with more runs than anyone waits for.
                return ends.withLock { $0.count } < 10_000
            }
            let end = ends.withLock { $0[0] }
            let picture = try await MapOperation(request) { _ in }.picture(bands: 2, columns: 40)
            if end == picture.length {
                for layer in picture.layers { #expect(layer.totals.reduce(0, +) == picture.length) }
            }
        } catch {
            #expect(!error.message.isEmpty && !error.message.contains("\n"))
        }
        #expect(isGapless.withLock { $0 })
    }
}
