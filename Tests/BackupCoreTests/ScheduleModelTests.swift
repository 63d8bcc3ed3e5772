// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import BackupCore

/// Whatever is asked of a job, in whatever order: the target and what is still owed are the point in time, the bitmap is
/// what its mode says, the states follow their table, and nothing waits for ever.
///
/// Each schedule is made by a seed and runs step by step on one thread, so that a seed that fails fails again.
@Suite(.timeLimit(.minutes(10))) struct ScheduleModelTests {
    static let batches = isHeavyRun ? 80 : 16
    static let schedulesInBatch: UInt64 = 128

    @Test(arguments: 0..<batches)
    func everyScheduleIsExact(batch: Int) {
        for seed in UInt64(batch) * Self.schedulesInBatch..<UInt64(batch + 1) * Self.schedulesInBatch {
            let problems = JobSchedule(seed: seed).run()
            #expect(problems.isEmpty, "seed \(seed): \(problems.joined(separator: "; "))")
        }
    }

    /// The same seed is the same run: without that a seed would be of no use.
    @Test func aSeedDecidesEverything() {
        for seed in 0..<20 as Range<UInt64> {
            let runs = (0..<2).map { _ in
                let schedule = JobSchedule(seed: seed)
                _ = schedule.run()
                return schedule.trace
            }
            #expect(runs[0] == runs[1] && !runs[0].isEmpty, "seed \(seed)")
        }
    }
}
