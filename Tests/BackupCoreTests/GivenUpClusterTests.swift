// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage
import Testing

@testable import BackupCore

/// What can't be read and was given up becomes zeroes; its neighbours that are still owed don't, whoever copies them.
@Suite(.timeLimit(.minutes(10))) struct GivenUpClusterTests {
    private static let cluster: UInt64 = 65536

    private static func range(_ clusters: Range<UInt64>) -> Range<UInt64> {
        clusters.lowerBound * cluster..<clusters.upperBound * cluster
    }

    /// A guest writes over a cluster that was given up and over those around it, before the job comes to any of them.
    @Test func guestWritesOverItAndItsNeighbours() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let length = 6 * Int(Self.cluster)
        let box = Locked<BackupJob?>(nil)
        let source = TestDisk(
            name: "source", bytes: [UInt8](repeating: 7, count: length),
            onCall: { call in
                // The job stands still as soon as it knows that the second cluster is lost.
                if call.operation == .read, call.range.lowerBound == Self.cluster {
                    try? box.withLock { $0 }?.pause()
                }
            })
        source.fail(.read, call: 2, with: .ioError)
        let target = TestDisk(name: "target", bytes: [UInt8](repeating: 0xEE, count: length))
        let guest = GuestDevice(source)
        var configuration = BackupJob.Configuration(maxWorkers: 1, maxChunk: Self.cluster)
        configuration.onSourceError = .ignore
        configuration.sourceTries = 1
        let job = try await BackupJob(source: guest, target: target, configuration: configuration)
        box.withLock { $0 = job }
        defer { box.withLock { $0 = nil } }
        try await job.start(on: workers)
        await until { job.state == .paused && !job.unreadableRanges().isEmpty }
        let bytes = [UInt8](repeating: 1, count: 4 * Int(Self.cluster))
        try await guest.write(at: 512, from: bytes.span.bytes)
        try job.resume()
        try await job.wait()
        #expect(job.unreadableRanges() == [Self.range(1..<2)])
        let found = target.bytes
        let firsts = (0..<6).map { cluster in found[cluster * Int(Self.cluster)] }
        #expect(firsts == [7, 0, 7, 7, 7, 7])
        for cluster in 0..<6 {
            let isSame = found[cluster * Int(Self.cluster)..<(cluster + 1) * Int(Self.cluster)]
                .allSatisfy { $0 == firsts[cluster] }
            #expect(isSame, "cluster \(cluster)")
        }
    }

    /// Wherever they lie in what is owed: a request is of clusters that were given up, or of others.
    @Test(arguments: [[], [0], [1], [3], [0, 1], [1, 2], [0, 2], [1, 3], [0, 1, 2, 3]] as [[UInt64]])
    func requestsHoldOneKind(_ lost: [UInt64]) throws {
        for isGuest in [false, true] {
            var bitmap = try DirtyBitmap(length: 4 * Self.cluster, granularity: Self.cluster)
            bitmap.setAll()
            var state = CopyState(
                length: 4 * Self.cluster, clusterSize: Self.cluster, copyBitmap: bitmap, mayOffload: false)
            for cluster in lost { state.giveUp(Self.range(cluster..<cluster + 1)) }
            var (zeroed, copied): (Set<UInt64>, Set<UInt64>) = ([], [])
            while let request = Self.take(&state, isGuest) {
                let clusters = request.range.lowerBound / Self.cluster..<request.range.upperBound / Self.cluster
                if request.isUnreadable { zeroed.formUnion(clusters) } else { copied.formUnion(clusters) }
                _ = state.finish(request, doneTo: request.range.upperBound, counters: .init(), holdsOthers: false)
            }
            #expect(zeroed == Set(lost) && copied == Set(0..<4).subtracting(lost))
            #expect(state.copyBitmap.isEmpty && state.doneLength == 4 * Self.cluster)
        }
    }

    private static func take(_ state: inout CopyState, _ isGuest: Bool) -> CopyRequest? {
        guard isGuest else { return state.take(limit: 8 * cluster, growth: 8 * cluster) }
        guard case .copy(let request) = state.takeForGuest(0..<4 * cluster, limit: 8 * cluster) else { return nil }
        return request
    }
}
