// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import Foundation

/// Background copying through the job core against a bare loop of reads and writes: same files, chunk and workers.
struct ThroughputBench {
    private static let length: UInt64 = 2 << 30
    private static let chunk: UInt64 = 1 << 20
    private static let workers = 4
    private static let rounds = 5

    let folder: String

    func run() async throws {
        let paths = (source: folder + "/core-source", target: folder + "/core-target")
        defer {
            try? FileManager.default.removeItem(atPath: paths.source)
            try? FileManager.default.removeItem(atPath: paths.target)
        }
        let source = try LocalStorage.open(paths.source, access: .create, lock: nil)
        try await source.resize(to: Self.length)
        let threads = WorkerThreads(count: Self.workers)
        defer { threads.stop() }
        try await fill(source)
        var ratios: [Double] = []
        var rates: [Double] = []
        for _ in 0..<Self.rounds {
            let bare = try await timed(paths.target) { try await bareLoop(source, $0, threads) }
            let job = try await timed(paths.target) { try await copyJob(source, $0, threads) }
            ratios.append(bare / job)
            rates.append(Double(Self.length) / job / 1e6)
        }
        CoreBench.row(
            "copying 2 GiB between files, rate against a bare loop",
            String(format: "%.3f (%.0f MB/s)", CoreBench.median(ratios), CoreBench.median(rates)), goal: "at least 0.95"
        )
    }

    private func fill(_ device: any Storage) async throws {
        var buffer = AlignedBuffer(count: Int(Self.chunk))
        var bytes = buffer.mutablePrefix(Int(Self.chunk))
        for index in 0..<Int(Self.chunk) {
            bytes.storeBytes(of: UInt8(truncatingIfNeeded: index &* 7 | 1), toByteOffset: index, as: UInt8.self)
        }
        for offset in stride(from: 0, to: Self.length, by: Int(Self.chunk)) {
            try await device.write(at: offset, from: buffer.bytes)
        }
        try await device.flush()
        // Into the page cache: writes went past it.
        for offset in stride(from: 0, to: Self.length, by: Int(Self.chunk)) {
            var target = buffer.mutablePrefix(Int(Self.chunk))
            try await device.read(at: offset, into: &target)
        }
    }

    /// Seconds until a fresh target is copied and on stable storage.
    private func timed(_ path: String, _ copy: (any Storage) async throws -> Void) async throws -> Double {
        try? FileManager.default.removeItem(atPath: path)
        let target = try LocalStorage.open(path, access: .create, lock: nil)
        try await target.resize(to: Self.length)
        let start = ContinuousClock.now
        try await copy(target)
        try await target.flush()
        return (ContinuousClock.now - start).seconds
    }

    private func bareLoop(_ source: any Storage, _ target: any Storage, _ threads: WorkerThreads) async throws {
        let next = Locked<UInt64>(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<Self.workers {
                group.addTask(executorPreference: threads) {
                    var buffer = AlignedBuffer(count: Int(Self.chunk))
                    while true {
                        let offset = next.withLock { next in
                            defer { next += Self.chunk }
                            return next
                        }
                        guard offset < Self.length else { return }
                        var bytes = buffer.mutablePrefix(Int(Self.chunk))
                        try await source.read(at: offset, into: &bytes)
                        try await target.write(at: offset, from: buffer.bytes)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private func copyJob(_ source: any Storage, _ target: any Storage, _ threads: WorkerThreads) async throws {
        let job = try await BackupJob(
            source: source, target: target,
            configuration: .init(copyRange: false, maxWorkers: Self.workers, maxChunk: Self.chunk),
            registry: JobRegistry())
        try await job.run(on: threads)
    }
}
