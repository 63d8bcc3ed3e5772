// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import Dispatch

/// Runs work that only reads, and shows how far it is.
///
/// - Parameter mode: how to show it.
func following<Value: Sendable, Failure: Error>(
    _ progress: () -> BackupProgress, _ mode: ProgressDisplay.Mode, on console: Console,
    work: @escaping @Sendable () async throws(Failure) -> Value
) -> Result<Value, Failure> {
    let work = { @Sendable () async -> Result<Value, Failure> in
        do throws(Failure) {
            return .success(try await work())
        } catch {
            return .failure(error)
        }
    }
    var display = ProgressDisplay(mode: mode, console: console)
    guard display.interval != nil else { return waiting(for: work) }
    let clock = ContinuousClock()
    let start = clock.now
    let result = waiting(for: work, every: .milliseconds(200)) {
        display.update(progress(), at: clock.now - start)
    }
    let isDone = (try? result.get()) != nil
    display.finish(isDone ? progress() : nil, at: clock.now - start)
    return result
}
