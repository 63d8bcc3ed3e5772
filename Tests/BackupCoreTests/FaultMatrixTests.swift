// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupCore

/// Every call of each kind fails or hangs, one at a time, with each thing that a policy makes of it and in each sync mode,
/// while guests write, until there is no such call any more: in the scan, the background copy and the guest's copy, and
/// while the job is asked to end. What the target holds and what is still owed is the whole point in time every time, and
/// the bitmap says so.
@Suite(.timeLimit(.minutes(10))) struct FaultMatrixTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var operation: TestDisk.Operation
        var kind: SchedulePlan.Fault.Kind
        var testDescription: String { "\(operation), \(kind)" }

        /// The policies that tell such a fault from others: what each makes of an error is tested elsewhere.
        var policies: [ErrorPolicy] {
            if isHeavyRun { return ErrorPolicy.allCases }
            return switch kind {
            case .error(.noSpace): [.enospc]
            case .error: [.report, .ignore, .stop]
            case .hang: [.report]
            }
        }
    }

    static let cases: [Case] = SchedulePlan.Fault.operations.flatMap { operation in
        [SchedulePlan.Fault.Kind.error(.ioError), .error(.noSpace), .hang].map { Case(operation: operation, kind: $0) }
    }

    @Test(arguments: cases)
    func everyCallGoesWrongOnce(_ test: Case) {
        var reached = 0
        for sync in SyncMode.allCases {
            for policy in test.policies {
                for isCancelled in [false, true] {
                    for call in 1... {
                        let fault = SchedulePlan.Fault(operation: test.operation, call: call, kind: test.kind)
                        let schedule = Self.schedule(sync, policy, fault, isCancelled: isCancelled)
                        let problems = schedule.run()
                        let title = "\(sync), \(policy), call \(call), cancelled \(isCancelled)"
                        #expect(problems.isEmpty, "\(title): \(problems.joined(separator: "; "))")
                        if !schedule.wasReached(fault) { break }
                        reached += 1
                    }
                }
            }
        }
        #expect(reached >= 15 * test.policies.count)
    }

    /// A small disk of all kinds of content, with room for offload.
    private static let image: TestImage = {
        let images = (0...).lazy.map { TestImage(length: 5 * 65536 + 1024, seed: $0) }
        return images.first { image in
            let data = image.layout.filter { $0.kind == .data }
            return Set(image.layout.map(\.kind)).count == 4 && data.contains { $0.length > 70_000 }
        }!
    }()

    /// A job on a small disk, the same for each, with guests that write all over it.
    private static func schedule(
        _ sync: SyncMode, _ policy: ErrorPolicy, _ fault: SchedulePlan.Fault, isCancelled: Bool
    ) -> JobSchedule {
        JobSchedule(seed: 7) { plan in
            var configuration = BackupJob.Configuration(
                sync: sync, compress: fault.operation == .writeCompressed, copyRange: fault.operation == .copyRange,
                maxWorkers: 2, maxChunk: 131_072)
            switch sync {
            case .none: break
            case .incremental: configuration.bitmapMode = .onSuccess
            case .bitmap, .full, .top: configuration.bitmapMode = .always
            }
            if sync != .none { configuration.bitmap = "b" }
            configuration.onSourceError = policy
            configuration.onTargetError = policy
            plan.configuration = configuration
            plan.image = image
            plan.bitmap =
                sync == .none
                ? nil : SchedulePlan.Bitmap(granularity: 4096, dirty: [0..<200_000], isRecording: true)
            plan.targetCluster = 4096
            plan.faults = [fault]
            plan.threads = 2
            plan.guestRequests = 6
            plan.verbs = isCancelled ? 8 : 0
            plan.cancels = isCancelled
            plan.cancelsBeforeStart = false
        }
    }
}
