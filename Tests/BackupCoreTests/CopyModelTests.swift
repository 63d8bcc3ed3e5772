// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupCore

/// Whatever the layout of the source and the way of copying: the target holds exactly what it should and nothing else was
/// touched, every byte is accounted for once, and `offset` ends at `length`.
@Suite struct CopyModelTests {
    enum Offload: Sendable, CaseIterable {
        case off, works, fails
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var sync: SyncMode
        var compress: Bool
        var offload: Offload
        var workers: Int
        var testDescription: String {
            "\(sync.rawValue)\(compress ? ", compressed" : ""), offload \(offload), \(workers) workers"
        }
    }

    static let cases = [SyncMode.full, .top].flatMap { sync in
        [false, true].flatMap { compress in
            Offload.allCases.flatMap { offload in
                [1, 2, 4].map { Case(sync: sync, compress: compress, offload: offload, workers: $0) }
            }
        }
    }

    static let targetClusterSizes: [UInt64] = [0, 512, 4096, 65536, 1 << 20, 2 << 20]

    @Test(arguments: cases)
    func targetIsExact(_ test: Case) async throws {
        let workers = WorkerThreads(count: test.workers)
        defer { workers.stop() }
        for (index, targetCluster) in Self.targetClusterSizes.enumerated() {
            let seed = UInt64(index * 31 + test.workers)
            let length = [1_500_000, 4608, 3 << 20, 65536 * 7 + 513, 5_000_001, 1][index]
            let image = TestImage(length: length, seed: seed)
            let source = TestDisk(
                name: "source", bytes: image.bytes, layout: image.layout,
                storage: test.offload == .off ? nil : TestStorage(image.bytes))
            let filler = [UInt8](repeating: 0xEE, count: length)
            let target = TestDisk(
                name: "target", bytes: filler,
                capabilities: DeviceCapabilities(
                    isReadOnly: false, canWriteCompressed: true, canCopyRange: test.offload != .off),
                clusterSize: .success(targetCluster))
            if test.offload == .fails { target.failAlways(.copyRange, with: .notSupported) }

            let job = try await BackupJob(
                source: source, target: target,
                configuration: .init(
                    sync: test.sync, compress: test.compress, maxWorkers: test.workers,
                    maxChunk: [nil, 2 << 20][index % 2]))
            try await job.run(on: workers)

            let clusters = max(65536, targetCluster)
            var expected = filler
            let kept = test.sync == .full ? nil : image.allocatedClusters(of: clusters)
            var copied: UInt64 = 0
            for start in stride(from: 0, to: length, by: Int(clusters)) {
                if let kept, !kept.contains(UInt64(start) / clusters) { continue }
                let end = min(start + Int(clusters), length)
                expected.replaceSubrange(start..<end, with: image.bytes[start..<end])
                copied += UInt64(end - start)
            }
            #expect(haveSameBytes(target.bytes, expected), "seed \(seed), target clusters \(targetCluster)")
            let progress = job.progress
            #expect(progress.remaining == 0 && progress.offset == progress.length)
            #expect(progress.offset % clusters == 0 && progress.offset - copied < clusters)
            let counters = progress.counters
            #expect(counters.written + counters.zero == copied)
            #expect(counters.skipped == UInt64(length) - copied)
            #expect(job.owedRanges().isEmpty && job.state == .null)
            #expect(source.outOfRange == 0 && target.outOfRange == 0)
            // Each byte was written once.
            let writes =
                target.calls.filter { [.write, .writeCompressed, .writeZeroes].contains($0.operation) }
                + (test.offload == .works ? target.calls(.copyRange) : [])
            #expect(writes.reduce(0) { $0 + ($1.range.upperBound - $1.range.lowerBound) } == copied)
            if test.compress {
                #expect(target.calls(.write).isEmpty && target.calls(.copyRange).isEmpty)
            } else {
                #expect(target.calls(.writeCompressed).isEmpty)
            }
            if test.offload == .fails, !test.compress {
                // Workers may each have had one under way when the first one failed.
                #expect(target.calls(.copyRange).count <= test.workers)
                #expect(counters.offloaded == 0)
            }
        }
    }

    @Test func offloadIsUsedForStoredRanges() async throws {
        let bytes = [UInt8](repeating: 7, count: 1 << 20)
        let source = TestDisk(bytes: bytes, storage: TestStorage(bytes))
        let target = TestDisk(
            bytes: [UInt8](repeating: 0, count: 1 << 20),
            capabilities: DeviceCapabilities(isReadOnly: false, canCopyRange: true), clusterSize: .success(65536))
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: .init())
        try await job.run(on: workers)
        #expect(haveSameBytes(target.bytes, bytes))
        #expect(source.calls(.read).isEmpty && job.progress.counters.offloaded == 1 << 20)
    }

    /// One write for a run of data, one zero write for a run of zeroes, whatever the number of clusters.
    @Test(arguments: [false, true])
    func runsAreWrittenAtOnce(compress: Bool) async throws {
        let cluster = 65536
        var bytes = [UInt8](repeating: 0, count: 16 * cluster)
        for index in 3 * cluster..<9 * cluster { bytes[index] = 1 }
        let source = TestDisk(bytes: bytes)
        let target = TestDisk(
            bytes: [UInt8](repeating: 9, count: bytes.count),
            capabilities: DeviceCapabilities(isReadOnly: false, canWriteCompressed: true),
            clusterSize: .success(UInt64(cluster)))
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: .init(compress: compress))
        try await job.run(on: workers)
        #expect(source.calls(.read).map(\.range) == [0..<UInt64(16 * cluster)])
        #expect(
            target.calls(compress ? .writeCompressed : .write).map(\.range)
                == [UInt64(3 * cluster)..<UInt64(9 * cluster)])
        #expect(target.calls(.writeZeroes).count == 2)
        #expect(haveSameBytes(target.bytes, bytes))
    }

    /// No transfer is longer than what either device takes, even where that is less than a cluster.
    @Test(arguments: [4096, 65536, 200_000] as [UInt64])
    func transfersKeepToTheDevicesLimits(limit: UInt64) async throws {
        let image = TestImage(length: 1_000_000, seed: limit)
        let source = TestDisk(
            bytes: image.bytes, layout: image.layout, capabilities: DeviceCapabilities(maximumTransfer: limit))
        let target = TestDisk(
            bytes: [UInt8](repeating: 9, count: 1_000_000),
            capabilities: DeviceCapabilities(isReadOnly: false, maximumTransfer: limit * 2))
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: .init())
        try await job.run(on: workers)
        #expect(haveSameBytes(target.bytes, image.bytes))
        #expect(source.calls(.read).allSatisfy { $0.range.count <= limit })
        #expect(target.calls(.write).allSatisfy { $0.range.count <= limit })
    }

    /// A status query that fails says nothing about the data: it is read.
    @Test func unknownStatusIsRead() async throws {
        let image = TestImage(length: 1_000_000, seed: 5)
        let source = TestDisk(bytes: image.bytes, layout: image.layout)
        source.failAlways(.blockStatus, with: .ioError)
        let target = TestDisk(bytes: [UInt8](repeating: 9, count: 1_000_000))
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: .init())
        try await job.run(on: workers)
        #expect(haveSameBytes(target.bytes, image.bytes))
        #expect(job.progress.counters.read == 1_000_000)
    }
}
