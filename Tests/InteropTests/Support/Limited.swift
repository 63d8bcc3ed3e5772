// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Testing

/// Lets only so many tests run at a time: each runs several programs, and some of those many threads.
struct Limited: TestTrait, SuiteTrait, TestScoping {
    private struct State {
        var free = 8
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private static let state = Locked(State())

    var isRecursive: Bool { true }

    func scopeProvider(for test: Test, testCase: Test.Case?) -> Limited? {
        testCase == nil ? nil : self
    }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing body: @concurrent @Sendable () async throws -> Void
    ) async throws {
        await withCheckedContinuation { continuation in
            let mayRun = Self.state.withLock { state in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                state.waiters.append(continuation)
                return false
            }
            if mayRun { continuation.resume() }
        }
        defer { Self.leave() }
        try await body()
    }

    private static func leave() {
        let next: CheckedContinuation<Void, Never>? = state.withLock { state in
            guard !state.waiters.isEmpty else {
                state.free += 1
                return nil
            }
            return state.waiters.removeFirst()
        }
        next?.resume()
    }
}

extension Trait where Self == Limited {
    static var limited: Limited { Limited() }
}
