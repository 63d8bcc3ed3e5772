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
    /// Where a request failed, what it still owed is taken one cluster at a time, up to here: the rest of it may work.
    var carefulEnd: UInt64 = 0
    /// Guest requests that copy, or wait to.
    var guests = 0
    /// Whether the job is about to end: what guests overwrite now need not be copied.
    var isClosedToGuests = false
    /// Who waits for the guest requests to be done.
    var guestWaiters: [InFlightRequests.Waiter] = []
    /// Whether it isn't known yet what the top layer holds.
    var isScanning = false
    /// Set by a failed request: nothing more is taken until someone decided what to do about it.
    var isHeld = false
    /// Cleared for good by the first failure.
    var mayOffload: Bool
    /// Clusters that could not be read and were given up: they are copied as zeroes. `nil` for none.
    var unreadable: DirtyBitmap?

    /// What the target lacks of what it should hold.
    var owedToTarget: [DirtyBitmap] {
        [copyBitmap, unreadable].compactMap { $0 }
    }

    /// Bytes that a range takes in whole clusters: a short tail counts as one.
    func wholeClusters(_ range: Range<UInt64>) -> UInt64 {
        let start = range.lowerBound / clusterSize
        let end = range.upperBound.dividedRoundingUp(by: clusterSize)
        return (end - start).multiplied(by: clusterSize) ?? .max
    }

    /// Takes the next owed range, at most `limit` bytes.
    ///
    /// - Parameter isGathering: whether it is going to be copied with others: `nil` then where it has to be copied alone.
    mutating func take(limit: UInt64, growth: UInt64, isGathering: Bool = false) -> CopyRequest? {
        guard !isHeld else { return nil }
        guard let first = copyBitmap.nextDirty(from: cursor) else {
            cursor = length
            return nil
        }
        let isCareful = first < carefulEnd
        let end = first.adding(isCareful ? clusterSize : limit) ?? .max
        guard let range = copyBitmap.nextDirtyArea(from: first, limit: end) else { return nil }
        if isGathering, isCareful || mayOffload || unreadable != nil { return nil }
        let request = take(range, growth: isCareful ? 0 : growth)
        cursor = request.range.upperBound
        return request
    }

    /// - Parameter range: owed clusters. The request has the first of them, up to where those that were given up begin or end.
    private mutating func take(_ range: Range<UInt64>, growth: UInt64) -> CopyRequest {
        var range = range
        var isUnreadable = false
        // The two are never in one request: all of what can't be read is copied as zeroes.
        if let lost = unreadable?.nextDirtyArea(from: range.lowerBound, limit: range.upperBound) {
            isUnreadable = lost.lowerBound == range.lowerBound
            range = range.lowerBound..<(isUnreadable ? lost.upperBound : lost.lowerBound)
        }
        copyBitmap.reset(range)
        inFlightLength &+= wholeClusters(range)
        return CopyRequest(
            id: inFlight.add(range), range: range, growthLimit: range.lowerBound.adding(growth) ?? .max,
            mayOffload: mayOffload, isUnreadable: isUnreadable,
            isAlone: growth == 0 || mayOffload || unreadable != nil)
    }

    /// Has clusters copied as zeroes, however they read. Only what is owed: a guest may have been luckier.
    mutating func giveUp(_ range: Range<UInt64>) {
        guard copyBitmap.hasDirty(in: range) else { return }
        var unreadable = unreadable.take() ?? copyBitmap.makeEmpty()
        unreadable.set(range)
        self.unreadable = unreadable
    }

    /// What a guest that is about to change `range`, whole clusters, has to do next.
    mutating func takeForGuest(_ range: Range<UInt64>, limit: UInt64) -> GuestStep {
        if let request = inFlight.overlapping(range) { return .wait(request) }
        // Others no longer ask before they write: what is copied from now on need not be what the disk held.
        if isClosedToGuests { return .done }
        guard let first = copyBitmap.nextDirty(from: range.lowerBound, limit: range.upperBound) else { return .done }
        // What is in flight the scan can't take out, and no more of it must be copied than is held: cluster by cluster.
        let end = min(first.adding(isScanning ? clusterSize : limit) ?? .max, range.upperBound)
        guard let area = copyBitmap.nextDirtyArea(from: first, limit: end) else { return .done }
        var request = take(area, growth: 0)
        request.mayBeUnallocated = isScanning
        return .copy(request)
    }

    enum GuestStep {
        /// Nothing is owed here, and no one copies any of it.
        case done
        /// Wait for this request to end, then ask again.
        case wait(UInt64)
        case copy(CopyRequest)
    }

    /// Takes clusters that need not be copied out of what is owed.
    mutating func skip(_ range: Range<UInt64>) {
        // Only what is owed still: a guest may have come first.
        var position = range.lowerBound
        while let area = copyBitmap.nextDirtyArea(from: position, limit: range.upperBound) {
            copyBitmap.reset(area)
            counters.skipped &+= area.upperBound - area.lowerBound
            position = area.upperBound
        }
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
        // Not past what a guest that failed left behind in the meantime.
        if cursor >= start { cursor = max(cursor, area.upperBound) }
        inFlightLength &+= wholeClusters(area)
        request.range = request.range.lowerBound..<area.upperBound
        inFlight.extend(request.id, to: area.upperBound)
    }

    /// Ends a request of which nothing need be copied: `range` covers it.
    mutating func skip(_ range: Range<UInt64>, andEnd request: CopyRequest) -> [InFlightRequests.Waiter] {
        inFlightLength &-= wholeClusters(request.range)
        counters.skipped &+= request.range.upperBound - request.range.lowerBound
        skip(range)
        return inFlight.remove(request.id)
    }

    /// Ends a request that is done up to `position`; what lies behind is owed again.
    ///
    /// - Parameter holdsOthers: whether a request that is not done keeps the job from taking more.
    mutating func finish(
        _ request: CopyRequest, doneTo position: UInt64, counters: CopyCounters, holdsOthers: Bool
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
            if holdsOthers {
                isHeld = true
                carefulEnd = max(carefulEnd, request.range.upperBound)
            }
        }
        return inFlight.remove(request.id)
    }
}
