// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import Testing

@testable import BackupCore

/// sync=top copies exactly the clusters of which the top layer holds a byte.
@Suite struct AllocationScanTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        /// Lengths and kinds, front to back: a allocated data, z explicit zeroes, u unallocated.
        var layout: [(Int, Character)]
        /// Clusters of 64 KiB that are to be copied.
        var copied: [Int]
        var testDescription: String { name }

        init(_ name: String, _ layout: [(Int, Character)], copied: [Int]) {
            self.name = name
            self.layout = layout
            self.copied = copied
        }
    }

    static let cluster = 65536
    static let rows = [
        Row("4 KiB inside cluster 1 of 3", [(cluster + 8192, "u"), (4096, "a"), (122_880, "u")], copied: [1]),
        Row("nothing allocated", [(3 * cluster, "u")], copied: []),
        Row("everything allocated", [(3 * cluster, "a")], copied: [0, 1, 2]),
        Row("an allocated run is rounded up", [(cluster + 1, "a"), (2 * cluster - 1, "u")], copied: [0, 1]),
        Row("first byte only", [(1, "a"), (3 * cluster - 1, "u")], copied: [0]),
        Row("last byte only", [(3 * cluster - 1, "u"), (1, "a")], copied: [2]),
        Row(
            "short runs add up to a cluster", [(1000, "u"), (30_000, "u"), (34_536, "u"), (cluster, "a")], copied: [1]),
        Row(
            "short runs add up past a cluster, the rest proves nothing",
            [(40_000, "u"), (40_000, "u"), (40_000, "u"), (76_608, "a")], copied: [1, 2]),
        Row(
            "a short run before data is the data's cluster", [(1000, "u"), (1, "a"), (131_071 + 64_536, "u")],
            copied: [0]),
        Row("explicit zeroes are held", [(cluster, "u"), (cluster, "z"), (cluster, "u")], copied: [1]),
        Row("one explicit zero byte is held", [(70_000, "u"), (1, "z"), (126_607, "u")], copied: [1]),
        Row("a short unallocated tail is a cluster", [(cluster, "a"), (700, "u")], copied: [0]),
        Row("a short allocated tail is a cluster", [(cluster, "u"), (700, "a")], copied: [1]),
        Row("a short tail held in part", [(cluster, "u"), (300, "u"), (1, "a"), (399, "u")], copied: [1]),
        Row("a disk shorter than a cluster, not held", [(512, "u")], copied: []),
        Row("a disk shorter than a cluster, held", [(511, "u"), (1, "a")], copied: [0]),
        Row("clusters and a tail at once", [(2 * cluster + 5, "u")], copied: []),
    ]

    static func disk(_ row: Row) -> TestDisk {
        let layout = row.layout.map { length, kind in
            let kind: TestDisk.Kind = kind == "a" ? .data : kind == "z" ? .zero : .backingData
            return TestDisk.Stretch(length: UInt64(length), kind: kind)
        }
        let length = row.layout.reduce(0) { $0 + $1.0 }
        return TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: length), layout: layout)
    }

    @Test(arguments: rows)
    func copiesExactly(_ row: Row) async throws {
        let source = Self.disk(row)
        let length = Int(source.length)
        let target = TestDisk(name: "target", bytes: [UInt8](repeating: 0xEE, count: length))
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: .init(sync: .top))
        #expect(job.progress.length == UInt64((length + Self.cluster - 1) / Self.cluster * Self.cluster))
        try await job.run(on: workers)

        var touched: Set<Int> = []
        for call in target.calls {
            for cluster in Int(call.range.lowerBound) / Self.cluster...(Int(call.range.upperBound) - 1) / Self.cluster {
                touched.insert(cluster)
            }
        }
        #expect(touched.sorted() == row.copied)
        #expect(job.progress.offset == UInt64(row.copied.count * Self.cluster))
        #expect(job.progress.length == job.progress.offset)
        let skipped = (0..<(length + Self.cluster - 1) / Self.cluster).filter { !row.copied.contains($0) }
        #expect(
            job.progress.counters.skipped
                == UInt64(skipped.reduce(0) { $0 + min(Self.cluster, length - $1 * Self.cluster) }))
    }

    @Test func aFailedQueryEndsTheJob() async throws {
        let source = Self.disk(Self.rows[7])
        source.fail(.blockStatus, call: 2, with: .ioError)
        let target = TestDisk(name: "target", bytes: [UInt8](repeating: 0xEE, count: Int(source.length)))
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: .init(sync: .top))
        do {
            try await job.run(on: workers)
            Issue.record("the job succeeded")
        } catch {
            guard case .scan(let offset, let underlying) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(offset == 0 && underlying.errno == .ioError && error.errno == .ioError)
        }
        #expect(target.calls.isEmpty && job.owedRanges() == [0..<source.length])
    }

    /// The job may be cancelled between any two queries, also those about one cluster.
    @Test func cancelIsSeenBetweenQueries() async throws {
        let layout = [TestDisk.Stretch](repeating: TestDisk.Stretch(length: 512, kind: .backingData), count: 1024)
        let box = Locked<BackupJob?>(nil)
        let source = TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: 1024 * 512), layout: layout) { call in
            if call.range.lowerBound == 512 { box.withLock { $0.take() }?.cancel() }
        }
        let target = TestDisk(name: "target", bytes: [UInt8](repeating: 0xEE, count: Int(source.length)))
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: .init(sync: .top))
        box.withLock { $0 = job }
        await #expect(throws: JobError.self) { try await job.run(on: workers) }
        #expect(source.calls(.blockStatus).count == 2 && target.calls.isEmpty)
    }

    /// Whole extents are dealt with at once: a few calls, however long they are.
    @Test(.timeLimit(.minutes(10)), arguments: [SyncMode.full, .top])
    func hugeHolesTakeFewCalls(sync: SyncMode) async throws {
        let length: UInt64 = 64 << 40
        let data = [1 << 30..<(1 << 30) + 4096, 500 << 30..<(500 << 30) + (64 << 20)] as [Range<UInt64>]
        let source = SparseDisk(length: length, data: data)
        let target = SparseDisk(length: length)
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let job = try await BackupJob(
            source: source, target: target, configuration: .init(sync: sync, maxChunk: 32 << 20))
        try await job.run(on: workers)
        #expect(job.progress.remaining == 0)
        #expect(source.calls["read"]! <= 10)
        if sync == .top {
            #expect(job.progress.offset == (64 << 20) + 65536)
            #expect(source.calls["blockStatus"]! < 50)
        } else {
            #expect(job.progress.offset == length)
            #expect(target.calls["writeZeroes"]! < 2 * 65_536, "a GiB at a time, less where workers meet")
        }
    }
}
