// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// One run of the compare command.
package final class CompareOperation: Sendable {
    private let request: CompareRequest
    private let warn: @Sendable (String) -> Void
    private let scan = Locked<CompareScan?>(nil)
    private let total = Locked<UInt64>(0)

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    package init(_ request: CompareRequest, warn: @escaping @Sendable (String) -> Void) {
        self.request = request
        self.warn = warn
    }

    /// How far the run is. May be asked at any time, from any thread.
    package var progress: BackupProgress {
        BackupProgress(offset: scan.withLock { $0 }?.done ?? 0, length: total.withLock { $0 })
    }

    /// Compares the disks.
    ///
    /// Without `isStrict`, what a guest reads is compared, and a disk that is longer than the other must go on with zeroes.
    package func run() async throws(CompareFailure) -> CompareReport {
        let count = request.workers ?? WorkerThreads.defaultCount(atMost: 16)
        let result: Result<CompareReport, CompareFailure>
        do throws(ServiceError) {
            result = try await OperationRun()(threads: count) {
                workers async -> Result<CompareReport, CompareFailure> in
                do throws(CompareFailure) {
                    return .success(try await self.compare(workers: workers.count))
                } catch {
                    return .failure(error)
                }
            }
        } catch {
            throw CompareFailure(.opening, error)
        }
        return try result.get()
    }

    private func compare(workers count: Int) async throws(CompareFailure) -> CompareReport {
        let one: OpenedDisk
        let two: OpenedDisk
        do throws(ServiceError) {
            one = try await open(request.first, request.firstFormat)
            two = try await open(request.second, request.secondFormat)
        } catch {
            throw CompareFailure(.opening, error)
        }
        let lengths = (one.device.length, two.device.length)
        let common = min(lengths.0, lengths.1)
        var report = CompareReport(
            difference: nil, firstLength: lengths.0, secondLength: lengths.1, hasComparedCommonPart: false)
        var limit = max(lengths.0, lengths.1)
        var otherwise: CompareReport.Difference?
        if request.isStrict {
            guard lengths.0 == lengths.1 else {
                report.difference = .length
                return report
            }
            do throws(BlockError) {
                if let offset = try await firstOtherAllocation(one, two) {
                    // Content counts only where it differs before.
                    limit = offset
                    otherwise = .allocation(offset)
                }
            } catch {
                throw CompareFailure(.mapping, ServiceError(error))
            }
        }
        total.withLock { $0 = limit }
        let scan = CompareScan(one.device, two.device, length: limit)
        self.scan.withLock { $0 = scan }
        await withTaskGroup { group in
            for _ in 0..<count { group.addTask { await scan.work() } }
        }
        switch scan.first {
        case .some((let offset, .difference)):
            report.difference = .content(offset)
            report.hasComparedCommonPart = offset >= common
        case .some((_, .failure(let stage, let error))):
            throw CompareFailure(stage, ServiceError(error))
        case nil:
            report.difference = otherwise
            report.hasComparedCommonPart = true
        }
        return report
    }

    private func open(_ path: String, _ format: ImageFormat?) async throws(ServiceError) -> OpenedDisk {
        try await Inspection.open(
            path, format: format, backingFormat: request.backingFormat, forceShare: request.forceShare, warn: warn)
    }

    /// The first offset from which on the disks are stored otherwise: allocated in one and not in the other, zero, data,
    /// compressed, or in one place or not. The depth in the chain, and the places, don't matter.
    private func firstOtherAllocation(_ one: OpenedDisk, _ two: OpenedDisk) async throws(BlockError) -> UInt64? {
        let range = 0..<one.device.length
        var first = MapWalker(await MapLayer.layers(of: one), range: range)
        var second = MapWalker(await MapLayer.layers(of: two), range: range)
        var mine = try await first.next()
        var theirs = try await second.next()
        while let left = mine, var right = theirs {
            right.depth = left.depth
            guard left.hasSameStatus(as: right) else { return max(left.start, right.start) }
            let end = min(left.end, right.end)
            if left.end == end { mine = try await first.next() }
            if right.end == end { theirs = try await second.next() }
        }
        return nil
    }
}

/// Two disks to compare.
package struct CompareRequest: Sendable {
    package var first: String
    package var second: String
    /// `nil` recognises it.
    package var firstFormat: ImageFormat?
    /// `nil` recognises it.
    package var secondFormat: ImageFormat?
    /// Format of backing files that record none; `nil` refuses them.
    package var backingFormat: ImageFormat?
    /// Whether lengths and allocation must be the same too.
    package var isStrict = false
    /// Read although other processes write to the images.
    package var forceShare = false
    /// Threads; `nil` chooses.
    package var workers: Int?

    package init(first: String, second: String) {
        self.first = first
        self.second = second
    }
}
