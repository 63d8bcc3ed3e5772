// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import Testing

@testable import BackupCore

/// A job that waits to be finalised may be cancelled, and finalised before anyone has noticed: it ends as cancelled, and
/// so do all that end with it. Its bitmap still has what its image was to have.
@Suite struct PendingCancelTests {
    @Test(arguments: 1...3, 0..<4 as Range<UInt64>)
    func cancelThenFinalize(jobCount: Int, seed: UInt64) {
        let (clock, executor) = (ManualClock(), SeededExecutor(seed: seed))
        let sources = (0..<jobCount).map { number in
            GuestDevice(TestDisk(name: "source\(number)", bytes: [UInt8](repeating: 7, count: 65536)))
        }
        let actions = sources.enumerated().map { number, source in
            var configuration = BackupJob.Configuration()
            configuration.autoFinalize = false
            configuration.bitmap = "b"
            configuration.bitmapMode = .onSuccess
            return BackupAction(
                id: "job\(number)", source: source,
                target: TestDisk(name: "target\(number)", bytes: [UInt8](repeating: 0, count: 65536)),
                configuration: configuration, registry: JobRegistry())
        }
        let pending = Locked(0)
        let isDone = executor.run(
            idle: {
                let jobs = actions.compactMap(\.job)
                guard jobs.count == jobCount, jobs.allSatisfy({ $0.state == .pending }) else { return false }
                pending.withLock { $0 += 1 }
                // Both in one step: nobody who waits for the decision runs between the two.
                jobs[jobCount - 1].cancel()
                try? jobs[0].finalize()
                return true
            },
            {
                for source in sources {
                    try? await source.addBitmap("b", granularity: 65536)
                    source.withBitmaps { $0.record(0..<512) }
                }
                try? await Transaction(actions, completion: .grouped).perform(on: executor, threads: 1, clock: clock)
                for action in actions { _ = await action.job?.lifecycle.waitForEnd() }
            })
        #expect(isDone && pending.withLock { $0 } == 1)
        for (source, action) in zip(sources, actions) {
            let error = action.job?.lifecycle.status.withLock { $0.error }
            guard case .cancelled = error else {
                Issue.record("\(action.job?.id ?? "no job") ends with \(String(describing: error))")
                continue
            }
            #expect(source.withBitmaps { $0.find("b")?.bits.isDirty(at: 0) } == true)
        }
    }
}
