// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO

/// Keeps beside a file how far its proof came: at the end, and now and then before, so that a run that is ended by force
/// or by a power cut was not for nothing.
final class ProofKeeper: Sendable {
    private let path: String
    private let known: VerifyState
    private let isSample: Bool
    private let isDamaged: Bool
    private let warn: @Sendable (String) -> Void
    private let clock = ContinuousClock()
    private let lastTime: Locked<ContinuousClock.Instant>

    /// Time between two writes.
    private static let interval = Duration.seconds(30)

    /// - Parameters:
    ///   - path: where it is kept.
    ///   - known: what of earlier runs still holds.
    ///   - isDamaged: whether the file's structure is.
    init(
        path: String, known: VerifyState, isSample: Bool, isDamaged: Bool, warn: @escaping @Sendable (String) -> Void
    ) {
        self.path = path
        self.known = known
        self.isSample = isSample
        self.isDamaged = isDamaged
        self.warn = warn
        lastTime = Locked(clock.now)
    }

    /// Writes where the last time is long ago. From any worker, while others go on.
    func keepNowAndThen(_ scan: LayerScan) async {
        let now = clock.now
        let isDue = lastTime.withLock { last in
            guard now - last >= Self.interval else { return false }
            last = now
            return true
        }
        // What can't be kept now is told at the end.
        if isDue, let state = state(of: scan, unseen: await unseen(by: scan)) { try? await state.write(to: path) }
    }

    /// Ranges that another run has found bad since this one began, and that this one hasn't.
    func newlyBad(_ scan: LayerScan) async -> [UInt64] {
        guard let present = await VerifyState(path: path), present.backup == known.backup else { return [] }
        return Set(present.bad).subtracting(known.bad).subtracting(Self.indices(of: scan.bad)).sorted()
    }

    /// Writes. Once all workers have ended.
    func keep(_ scan: LayerScan) async {
        guard let state = state(of: scan, unseen: await unseen(by: scan)) else { return }
        do throws(ServiceError) {
            try await state.write(to: path)
        } catch {
            warn("how far this came can't be kept: \(error.message)")
        }
    }

    /// Ranges that were bad when this run began, and that it hasn't come to. What else it was to look at first isn't bad.
    func unseenBad(by scan: LayerScan) -> [UInt64] {
        scan.unseen.filter(Set(known.bad).contains)
    }

    /// Ranges that were bad, as this run or another one knows, and that this one hasn't come to.
    private func unseen(by scan: LayerScan) async -> [UInt64] {
        await newlyBad(scan) + unseenBad(by: scan)
    }

    /// - Parameter unseen: ranges that were bad and weren't looked at again.
    /// - Returns: `nil` where nothing is known that was not known before.
    func state(of scan: LayerScan, unseen: [UInt64] = []) -> VerifyState? {
        let (position, bad) = (scan.position, Set(unseen).union(Self.indices(of: scan.bad)))
        let isComplete = !isSample && position == scan.rangeCount
        guard scan.checkedRanges > 0 || isComplete || isDamaged else { return nil }
        var state = known
        // Looked at as a whole by every run.
        state.isDamaged = isDamaged ? true : nil
        state.bad = Array(bad.sorted().prefix(VerifyState.mostBad))
        if !isSample {
            // Who began anew and was stopped has proven no less than was proven before.
            state.nextRange = isComplete ? 0 : max(known.nextRange, position)
            if isComplete { state.proven = isDamaged || !bad.isEmpty ? nil : state.checked }
        }
        return state
    }

    /// The first ranges of 1 MiB that are bad.
    private static func indices(of bad: [BadRange]) -> [UInt64] {
        var indices: [UInt64] = []
        for bad in bad where indices.count < VerifyState.mostBad {
            let first = bad.range.lowerBound / ContentGeometry.rangeLength
            let last = (bad.range.upperBound - 1) / ContentGeometry.rangeLength
            indices += first...min(last, first + UInt64(VerifyState.mostBad))
        }
        return indices
    }
}
