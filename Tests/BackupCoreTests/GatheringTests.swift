// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupCore

/// Short ranges that lie apart are read and written in a few calls; where one fails, what is not done is owed, and no more.
@Suite struct GatheringTests {
    private static let cluster = 65536
    private static let clusters = 200

    /// Every third cluster holds something.
    private static func scattered() -> TestDisk {
        var random = SeededRandom(seed: 4)
        let zeroes = [UInt8](repeating: 0, count: cluster)
        let bytes = (0..<clusters).flatMap { $0 % 3 == 1 ? random.bytes(count: cluster) : zeroes }
        let layout = (0..<clusters).map {
            TestDisk.Stretch(length: UInt64(cluster), kind: $0 % 3 == 1 ? .data : .unallocated)
        }
        return TestDisk(name: "source", bytes: bytes, layout: layout)
    }

    private static func target() -> TestDisk {
        TestDisk(
            name: "target", bytes: [UInt8](repeating: 0xEE, count: clusters * cluster),
            capabilities: DeviceCapabilities(isReadOnly: false, hasBackingFile: true), clusterSize: .success(65536))
    }

    @Test(arguments: [SyncMode.full, .top], [1, 4])
    func together(sync: SyncMode, workerCount: Int) async throws {
        let workers = WorkerThreads(count: workerCount)
        defer { workers.stop() }
        let (source, target) = (Self.scattered(), Self.target())
        let job = try await BackupJob(
            source: source, target: target,
            configuration: .init(sync: sync, maxWorkers: workerCount, maxChunk: 1 << 20))
        try await job.run(on: workers)
        for index in 0..<Self.clusters {
            let place = index * Self.cluster..<(index + 1) * Self.cluster
            if index % 3 == 1 || sync == .full {
                #expect(haveSameBytes(Array(target.bytes[place]), Array(source.bytes[place])))
            } else {
                #expect(target.bytes[place].allSatisfy { $0 == 0xEE })
            }
        }
        // 67 clusters, 16 at a time.
        for calls in [source.gathered(.read), target.gathered(.write)] {
            #expect(calls.count >= 4 && calls.count <= 4 + workerCount && calls.allSatisfy { $0 <= 16 })
        }
        #expect(job.progress.counters.read == 67 << 16 && job.progress.counters.written == 67 << 16)
    }

    /// Whichever cluster fails: what was written is not owed, all else is, and the error names the cluster.
    @Test(arguments: [TestDisk.Operation.read, .write], [1, 7, 16, 20, 67])
    func failure(operation: TestDisk.Operation, call: Int) async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let (source, target) = (Self.scattered(), Self.target())
        (operation == .read ? source : target).fail(operation, call: call, with: .ioError)
        let job = try await BackupJob(
            source: source, target: target,
            configuration: .init(sync: .top, maxWorkers: 1, maxChunk: 1 << 20))
        do throws(JobError) {
            try await job.run(on: workers)
            Issue.record("no failure")
        } catch {
            guard case .copy(let failure) = error else { throw error }
            let start = UInt64((call - 1) * 3 + 1) << 16
            #expect(failure.range == start..<start + 65536 && failure.errno == .ioError)
        }
        let done = operation == .read ? (call - 1) / 16 * 16 : call - 1
        #expect(job.progress.counters.written == UInt64(done) << 16)
        #expect(job.owedRanges().reduce(0) { $0 + ($1.upperBound - $1.lowerBound) } == UInt64(67 - done) << 16)
    }
}
