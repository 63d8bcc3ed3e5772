// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Dispatch

/// Runs asynchronous work, which does all that takes time on threads of its own, while the calling thread waits for its
/// end.
func waiting<Value: Sendable, Failure: Error>(
    for work: @escaping @Sendable () async throws(Failure) -> Value
) -> Result<Value, Failure> {
    let result = Locked<Result<Value, Failure>?>(nil)
    let end = DispatchSemaphore(value: 0)
    Task.detached(executorPreference: ImmediateExecutor()) {
        do throws(Failure) {
            let value = try await work()
            result.withLock { $0 = .success(value) }
        } catch {
            result.withLock { $0 = .failure(error) }
        }
        end.signal()
    }
    end.wait()
    guard let value = result.withLock({ $0 }) else { preconditionFailure("the work has ended") }
    return value
}
