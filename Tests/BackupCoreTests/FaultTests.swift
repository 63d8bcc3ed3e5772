// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupCore

/// Whatever call fails, and whenever a job is cancelled: the error says which side, nothing new is started, and what the
/// target holds together with what is still owed is everything.
@Suite struct FaultTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var operation: TestDisk.Operation
        var errno: Errno
        var workers: Int
        var compress = false
        var testDescription: String { "\(operation) fails with \(errno), \(workers) workers" }
    }

    static let cases = [1, 2, 4].flatMap { workers in
        [
            Case(operation: .read, errno: .ioError, workers: workers),
            Case(operation: .write, errno: .noSpace, workers: workers),
            Case(operation: .writeZeroes, errno: .noSpace, workers: workers),
            Case(operation: .writeCompressed, errno: .ioError, workers: workers, compress: true),
        ]
    }

    static let length = 1_500_000 + 77

    static func target(clusterSize: UInt64 = 4096) -> TestDisk {
        TestDisk(
            name: "target", bytes: [UInt8](repeating: 0xEE, count: length),
            capabilities: DeviceCapabilities(isReadOnly: false, canWriteCompressed: true),
            clusterSize: .success(clusterSize))
    }

    /// Each byte is owed, or right in the target.
    static func expectNothingLost(_ job: BackupJob, _ source: TestDisk, _ target: TestDisk) {
        var expected = source.bytes
        let present = target.bytes
        var owed: UInt64 = 0
        for range in job.owedRanges() {
            expected.replaceSubrange(
                Int(range.lowerBound)..<Int(range.upperBound),
                with: present[Int(range.lowerBound)..<Int(range.upperBound)])
            owed += (range.upperBound - range.lowerBound + 65535) / 65536 * 65536
        }
        #expect(haveSameBytes(present, expected))
        #expect(job.progress.remaining == owed)
        #expect(job.progress.length == UInt64((length + 65535) / 65536 * 65536))
        #expect(job.state == .null)
    }

    @Test(arguments: cases)
    func everyCallFailsOnce(_ test: Case) async throws {
        let workers = WorkerThreads(count: test.workers)
        defer { workers.stop() }
        // Runs of data and of zeroes, several to a chunk, with zeroes right at the start and data at the end.
        var bytes = [UInt8](repeating: 0, count: Self.length)
        for index in bytes.indices where index / 24_576 % 3 != 0 {
            bytes[index] = UInt8(truncatingIfNeeded: index >> 12) | 1
        }
        var failures = 0
        for call in 1... {
            let source = TestDisk(name: "source", bytes: bytes)
            let target = Self.target()
            (test.operation == .read ? source : target).fail(test.operation, call: call, with: test.errno)
            let job = try await BackupJob(
                source: source, target: target,
                configuration: .init(compress: test.compress, maxWorkers: test.workers, maxChunk: 128 << 10))
            do {
                try await job.run(on: workers)
                #expect(haveSameBytes(target.bytes, source.bytes) && job.owedRanges().isEmpty)
                break
            } catch {
                failures += 1
                guard case .copy(let copyError) = error else {
                    Issue.record("\(error)")
                    break
                }
                #expect(copyError.side == (test.operation == .read ? .source : .target))
                #expect(copyError.errno == test.errno && error.errno == test.errno)
                #expect(!job.owedRanges().isEmpty)
                Self.expectNothingLost(job, source, target)
                // Nothing new is started. With more workers, how far the others are is a matter of luck.
                if test.operation == .read, test.workers == 1 { #expect(source.calls(.read).count == call) }
            }
        }
        #expect(failures > 5)
    }

    @Test(arguments: [1, 2, 4], [1, 3, 8])
    func cancelledMidway(workerCount: Int, afterWrites: Int) async throws {
        let workers = WorkerThreads(count: workerCount)
        defer { workers.stop() }
        let source = TestDisk(name: "source", bytes: [UInt8](repeating: 5, count: Self.length))
        let box = Locked<(job: BackupJob?, writes: Int)>((nil, 0))
        let target = TestDisk(
            name: "target", bytes: [UInt8](repeating: 0xEE, count: Self.length),
            onCall: { call in
                guard call.operation == .write else { return }
                let job: BackupJob? = box.withLock { box in
                    box.writes += 1
                    return box.writes == afterWrites ? box.job : nil
                }
                job?.cancel()
            })
        let job = try await BackupJob(
            source: source, target: target, configuration: .init(maxWorkers: workerCount, maxChunk: 128 << 10))
        box.withLock { $0.job = job }
        do {
            try await job.run(on: workers)
            Issue.record("the job succeeded")
        } catch {
            guard case .cancelled = error else {
                Issue.record("\(error)")
                return
            }
        }
        // One write for each chunk: the one that cancelled, and what others had in hand.
        let writes = target.calls(.write).count
        #expect(writes >= afterWrites && writes < afterWrites + workerCount)
        Self.expectNothingLost(job, source, target)
        box.withLock { $0.job = nil }
    }

    @Test func cancelledWhileScanning() async throws {
        let box = Locked<BackupJob?>(nil)
        let layout = (0..<60).map { TestDisk.Stretch(length: 65536, kind: $0 % 2 == 0 ? .data : .backingData) }
        let source = TestDisk(
            bytes: [UInt8](repeating: 5, count: 60 * 65536), layout: layout,
            onCall: { call in
                if call.range.lowerBound == 10 * 65536 { box.withLock { $0 }?.cancel() }
            })
        let target = TestDisk(bytes: [UInt8](repeating: 0, count: 60 * 65536))
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: .init(sync: .top))
        box.withLock { $0 = job }
        await #expect(throws: JobError.self) { try await job.run(on: workers) }
        #expect(source.calls(.blockStatus).count == 11 && target.calls.isEmpty)
        #expect(job.state == .null)
        box.withLock { $0 = nil }
    }

    @Test func cancellingTheTaskCancelsTheJob() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let source = TestDisk(name: "source", bytes: [UInt8](repeating: 5, count: Self.length))
        let target = Self.target()
        let job = try await BackupJob(source: source, target: target, configuration: .init())
        let task = Task {
            // Starts cancelled, so that it does not matter how fast the copying is.
            while !Task.isCancelled { await Task.yield() }
            try await job.run(on: workers)
        }
        task.cancel()
        await #expect(throws: JobError.self) { try await task.value }
        #expect(target.calls.isEmpty && job.state == .null)
    }
}
