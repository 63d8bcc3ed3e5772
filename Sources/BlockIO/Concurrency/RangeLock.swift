// SPDX-License-Identifier: GPL-2.0-or-later

/// Keeps requests that touch the same bytes apart, and lets all others pass each other.
///
/// A request waits until no range that was taken before it overlaps its own, unless both are shared. Requests that
/// overlap are served in order of arrival.
package final class RangeLock: Sendable {
    private struct Request {
        let id: UInt64
        let range: Range<UInt64>
        /// What of `range` is wanted, ascending; `nil` for all of it.
        let parts: [Range<UInt64>]?
        let isShared: Bool
        /// Requests before this one that overlap it and are not done.
        var blockers: Int
        var continuation: CheckedContinuation<Void, Never>?

        func excludes(_ other: Request) -> Bool {
            guard !(isShared && other.isShared), range.overlaps(other.range) else { return false }
            if parts == nil, other.parts == nil { return true }
            let (mine, theirs) = (parts ?? [range], other.parts ?? [other.range])
            var (i, j) = (0, 0)
            while i < mine.count, j < theirs.count {
                if mine[i].overlaps(theirs[j]) { return true }
                if mine[i].upperBound <= theirs[j].upperBound { i += 1 } else { j += 1 }
            }
            return false
        }
    }

    private struct State {
        var nextID: UInt64 = 0
        /// In order of arrival. As many as there are workers: a list is enough.
        var requests: [Request] = []
    }

    private let state = Locked(State())

    package init() {}

    /// Runs `body` while no other request holds bytes of `range`.
    package func withLock<Result, Failure: Error>(
        _ range: Range<UInt64>, _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        let id = await acquire(range)
        defer { release(id) }
        return try await body()
    }

    /// Waits for the bytes of `range`.
    ///
    /// - Parameter isShared: whether others that share may hold them at the same time.
    /// - Returns: what `release` wants.
    package func acquire(_ range: Range<UInt64>, isShared: Bool = false) async -> UInt64 {
        await acquire(range, parts: nil, isShared: isShared)
    }

    /// Waits for the bytes of several ranges at once: taken one after the other, two requests could wait for each other.
    ///
    /// - Parameter ranges: at least one, ascending and apart from each other.
    /// - Returns: what `release` wants.
    package func acquire(_ ranges: [Range<UInt64>]) async -> UInt64 {
        await acquire(ranges[0].lowerBound..<ranges[ranges.count - 1].upperBound, parts: ranges, isShared: false)
    }

    private func acquire(_ range: Range<UInt64>, parts: [Range<UInt64>]?, isShared: Bool) async -> UInt64 {
        let (id, mustWait) = state.withLock { state in
            let id = state.nextID
            state.nextID += 1
            var request = Request(id: id, range: range, parts: parts, isShared: isShared, blockers: 0)
            request.blockers = state.requests.count { $0.excludes(request) }
            state.requests.append(request)
            return (id, request.blockers > 0)
        }
        guard mustWait else { return id }
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                // The request is in the list until its release.
                let index = state.requests.firstIndex { $0.id == id }!
                if state.requests[index].blockers == 0 { return true }
                state.requests[index].continuation = continuation
                return false
            }
            if isFree { continuation.resume() }
        }
        return id
    }

    /// Number of requests that wait.
    package var waitingCount: Int { state.withLock { $0.requests.count { $0.blockers > 0 } } }

    /// Lets go of what `acquire` waited for.
    package func release(_ id: UInt64) {
        let freed = state.withLock { state in
            let index = state.requests.firstIndex { $0.id == id }!
            let request = state.requests.remove(at: index)
            var freed: [CheckedContinuation<Void, Never>] = []
            // Only requests that came later were waiting for this one.
            for later in index..<state.requests.count
            where state.requests[later].excludes(request) {
                state.requests[later].blockers -= 1
                if state.requests[later].blockers == 0, let continuation = state.requests[later].continuation {
                    freed.append(continuation)
                }
            }
            return freed
        }
        for continuation in freed {
            continuation.resume()
        }
    }
}
