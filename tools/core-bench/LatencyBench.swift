// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import Foundation

/// How long a guest's writes take while a job copies to a slow target.
struct LatencyBench {
    private static let length: UInt64 = 64 << 20
    private static let writes = 400
    private static let writeLength = 4096

    func run() async throws {
        let alone = try await percentiles(withJob: false)
        let during = try await percentiles(withJob: true)
        CoreBench.row(
            "guest write of 4 KiB, p50 and p99, without a job",
            String(format: "%.3f ms, %.3f ms", alone.p50 * 1e3, alone.p99 * 1e3))
        CoreBench.row(
            "the same during a job whose target takes 50 ms a write",
            String(format: "%.3f ms, %.3f ms", during.p50 * 1e3, during.p99 * 1e3))
    }

    private func percentiles(withJob: Bool) async throws -> (p50: Double, p99: Double) {
        let guest = GuestDevice(SlowDisk(length: Self.length, writeTime: .zero))
        let target = SlowDisk(length: Self.length, writeTime: .milliseconds(50))
        let threads = WorkerThreads(count: 4)
        defer { threads.stop() }
        let job = try await BackupJob(
            source: guest, target: target, configuration: .init(maxChunk: 1 << 20),
            registry: JobRegistry())
        if withJob { try await job.start(on: threads) }
        var times: [Double] = []
        var random = SystemRandomNumberGenerator()
        let bytes = AlignedBuffer(count: Self.writeLength)
        for _ in 0..<Self.writes {
            let block = UInt64.random(in: 0..<Self.length / UInt64(Self.writeLength), using: &random)
            let start = ContinuousClock.now
            try await guest.write(at: block * UInt64(Self.writeLength), from: bytes.bytes)
            times.append((ContinuousClock.now - start).seconds)
        }
        if withJob {
            job.cancel()
            try? await job.wait()
        }
        times.sort()
        return (times[times.count / 2], times[times.count * 99 / 100])
    }
}

/// A disk that takes its time to write and keeps nothing.
private final class SlowDisk: BlockDevice {
    let name = "slow"
    let length: UInt64
    let capabilities = DeviceCapabilities(
        isReadOnly: false, hasBackingFile: false, canWriteCompressed: false, canCopyRange: false)
    private let writeTime: Duration

    init(length: UInt64, writeTime: Duration) {
        self.length = length
        self.writeTime = writeTime
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        _ = buffer.withUnsafeMutableBytes { $0.initializeMemory(as: UInt8.self, repeating: 1) }
    }

    func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        BlockExtent(length: length, isAllocated: true, readsAsZero: false, location: nil)
    }

    func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        if writeTime > .zero { try? await Task.sleep(for: writeTime) }
    }
}
