// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Dispatch

/// Runs asynchronous work while the calling thread, which must not be one of the pool's, waits for its end.
///
/// - Parameters:
///   - interval: how often to call `meanwhile`; `nil` for never.
///   - meanwhile: called by the thread that waits.
func waiting<Result: Sendable>(
    for work: @escaping @Sendable () async -> Result, every interval: DispatchTimeInterval? = nil,
    meanwhile: () -> Void = {}
) -> Result {
    let result = Locked<Result?>(nil)
    let end = DispatchSemaphore(value: 0)
    Task.detached {
        let value = await work()
        result.withLock { $0 = value }
        end.signal()
    }
    if let interval {
        while end.wait(timeout: .now() + interval) == .timedOut { meanwhile() }
    } else {
        end.wait()
    }
    guard let value = result.withLock({ $0 }) else { preconditionFailure("the work has ended") }
    return value
}
