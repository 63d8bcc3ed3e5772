// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport

/// Runs tasks on the thread that asks for it, one step at a time, in an order that a seed decides: what happens is the
/// same in each run, and a run that can't go on is found out instead of waited for.
final class SeededExecutor: TaskExecutor {
    private struct State {
        var steps: [UnownedJob] = []
        var random: SeededRandom
    }

    private let state: Locked<State>

    init(seed: UInt64) {
        state = Locked(State(random: SeededRandom(seed: seed)))
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let step = UnownedJob(job)
        state.withLock { $0.steps.append(step) }
    }

    private func next() -> UnownedJob? {
        state.withLock { state in
            guard !state.steps.isEmpty else { return nil }
            return state.steps.swapRemove(at: Int.random(in: 0..<state.steps.count, using: &state.random))
        }
    }

    /// Runs `body`, and all tasks that it starts, until it returns.
    ///
    /// - Parameter idle: called where no task can go on; false where there is nothing to wait for.
    /// - Returns: false where `body` waits for something that never happens.
    func run(idle: () -> Bool, _ body: @escaping @Sendable () async -> Void) -> Bool {
        let isDone = Locked(false)
        Task(executorPreference: self) {
            await body()
            isDone.withLock { $0 = true }
        }
        while !isDone.withLock({ $0 }) {
            if let step = next() {
                step.runSynchronously(on: asUnownedTaskExecutor())
            } else if !idle() {
                return false
            }
        }
        return true
    }
}

extension Array {
    /// Removes an element and puts the last one in its place.
    fileprivate mutating func swapRemove(at index: Int) -> Element {
        swapAt(index, count - 1)
        return removeLast()
    }
}
