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
        if isDue, let state = state(of: scan) { try? await state.write(to: path) }
    }

    /// Writes. Once all workers have ended.
    func keep(_ scan: LayerScan) async {
        guard let state = state(of: scan) else { return }
        do throws(ServiceError) {
            try await state.write(to: path)
        } catch {
            warn("how far this came can't be kept: \(error.message)")
        }
    }

    /// - Returns: `nil` where nothing is known that was not known before.
    func state(of scan: LayerScan) -> VerifyState? {
        let (position, bad) = (scan.position, scan.bad)
        let isComplete = !isSample && position == scan.rangeCount
        guard scan.checkedRanges > 0 || isComplete || isDamaged else { return nil }
        var state = known
        // Looked at as a whole by every run.
        state.isDamaged = isDamaged ? true : nil
        state.bad = Array(bad.map { $0.range.lowerBound / ContentGeometry.rangeLength }.prefix(VerifyState.mostBad))
        if !isSample {
            state.nextRange = isComplete ? 0 : position
            if isComplete { state.proven = isDamaged || !bad.isEmpty ? nil : state.checked }
        }
        return state
    }
}
