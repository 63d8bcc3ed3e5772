// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import DirtyBitmaps

/// What the copying knows, guarded by `BlockCopy`'s lock.
///
/// Every cluster is in one of three places: set in the copy bitmap (owed), inside a request in flight, or done. A request
/// clears its bits when it starts and sets them again for what it did not finish, so nothing is ever lost or done twice.
struct CopyState {
    let length: UInt64
    let clusterSize: UInt64

    /// Set: the target is still owed this cluster.
    var copyBitmap: DirtyBitmap
    var inFlight = InFlightRequests()
    /// Bytes in flight, in whole clusters.
    var inFlightLength: UInt64 = 0
    /// No bit below is set. A cluster that failed moves it back.
    var cursor: UInt64 = 0
    /// Bytes done, in whole clusters.
    var doneLength: UInt64 = 0
    var counters = CopyCounters()
    /// Set by a failed request: nothing more is taken until someone decided what to do about it.
    var isHeld = false
    /// Cleared for good by the first failure.
    var mayOffload: Bool

    /// Bytes that a range takes in whole clusters: a short tail counts as one.
    func wholeClusters(_ range: Range<UInt64>) -> UInt64 {
        let start = range.lowerBound / clusterSize
        let end = range.upperBound.dividedRoundingUp(by: clusterSize)
        return (end - start).multiplied(by: clusterSize) ?? .max
    }

    /// Takes the next owed range, at most `limit` bytes.
    mutating func take(limit: UInt64, growth: UInt64) -> CopyRequest? {
        guard !isHeld else { return nil }
        guard let first = copyBitmap.nextDirty(from: cursor) else {
            cursor = length
            return nil
        }
        let end = first.adding(limit) ?? .max
        guard let range = copyBitmap.nextDirtyArea(from: first, limit: end) else { return nil }
        copyBitmap.reset(range)
        cursor = range.upperBound
        inFlightLength &+= wholeClusters(range)
        return CopyRequest(
            id: inFlight.add(range), range: range, growthLimit: range.lowerBound.adding(growth) ?? .max,
            mayOffload: mayOffload)
    }

    /// How far the owed clusters behind a request reach without a gap, at most to its growth limit.
    func ownedEnd(after request: CopyRequest) -> UInt64 {
        let end = request.range.upperBound
        guard end < request.growthLimit else { return end }
        return copyBitmap.nextClean(from: end, limit: request.growthLimit) ?? max(end, min(request.growthLimit, length))
    }

    /// Adds to a request what is still owed between its end and `end`.
    mutating func grow(_ request: inout CopyRequest, to end: UInt64) {
        let start = request.range.upperBound
        guard let area = copyBitmap.nextDirtyArea(from: start, limit: end), area.lowerBound == start else { return }
        copyBitmap.reset(area)
        cursor = max(cursor, area.upperBound)
        inFlightLength &+= wholeClusters(area)
        request.range = request.range.lowerBound..<area.upperBound
        inFlight.extend(request.id, to: area.upperBound)
    }

    /// Ends a request that is done up to `position`; what lies behind is owed again.
    mutating func finish(
        _ request: CopyRequest, doneTo position: UInt64, counters: CopyCounters
    ) -> [InFlightRequests.Waiter] {
        let all = wholeClusters(request.range)
        inFlightLength &-= all
        self.counters += counters
        if position >= request.range.upperBound {
            doneLength &+= all
        } else {
            let firstOwed = position / clusterSize * clusterSize
            doneLength &+= firstOwed - request.range.lowerBound
            copyBitmap.set(firstOwed..<request.range.upperBound)
            cursor = min(cursor, firstOwed)
            isHeld = true
        }
        return inFlight.remove(request.id)
    }
}
