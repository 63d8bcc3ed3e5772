// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import Qcow2Format

/// The proof of one file of a chain: its structure, then its content.
struct LayerVerification {
    let layer: OpenedDisk.Layer
    let extent: VerifyRequest.Extent
    /// Whether this run may have no time for all: then it goes on where the last one stopped.
    let isLimited: Bool
    let workers: Int
    let warn: @Sendable (String) -> Void
    /// Whether there is no time for more.
    let isOver: @Sendable () -> Bool

    func checkStructure(_ verified: inout VerifiedLayer) async {
        guard layer.format == .qcow2 else { return }
        do throws(BlockError) {
            let report = try await Qcow2Check(layer.file).run()
            if report.leaks > 0 {
                warn("\(layer.path) wastes space: \(report.leaks) clusters are marked as used and are not")
            }
            var problems: [String] = []
            if report.corruptions > 0 { problems.append("\(report.corruptions) errors in its structure") }
            if report.checkErrors > 0 { problems.append("\(report.checkErrors) parts of it could not be checked") }
            verified.structureProblems = problems
        } catch {
            verified.structureProblems = [ServiceError(error).message]
        }
    }

    /// - Parameters:
    ///   - manifest: the layer's own.
    ///   - starting: called with what tells how far it is.
    func prove(
        _ proof: LayerProof, by manifest: ManifestHeader, _ verified: inout VerifiedLayer, starting: (LayerScan) -> Void
    ) async throws(ServiceError) {
        let stamp = layer.file.stamp
        let path = try ManifestPlace.path(besides: layer.path, suffix: VerifyState.suffix)
        var known = VerifyState(of: manifest, in: stamp)
        if let earlier = await VerifyState(path: path) { known = earlier.applied(to: manifest, in: stamp) }
        let rangeCount = proof.digests.geometry.rangeCount
        // Nothing has such a place to go on from, and what was damaged must not stand for a proof.
        if known.nextRange >= rangeCount { known.nextRange = 0 }
        let (isSample, share) = if case .sample(let share) = extent { (true, share) } else { (false, 1.0) }
        let scan = LayerScan(proof, from: isLimited && !isSample ? known.nextRange : 0, share: share, isOver: isOver)
        starting(scan)
        let isDamaged = verified.structureProblems?.isEmpty == false
        let keeper = ProofKeeper(path: path, known: known, isSample: isSample, isDamaged: isDamaged, warn: warn)
        // What was bad the last time is looked at by every run: else one that doesn't come to it would find nothing wrong.
        // And a sample of a few ranges is none where chance leaves out all of them.
        let least = isSample && rangeCount > 0 ? proof.digests.heldRange(from: .random(in: 0..<rangeCount)) : nil
        await scan.check(known.bad + (least.map { [$0] } ?? []))
        await withTaskGroup { group in
            for _ in 0..<workers { group.addTask { await scan.work { await keeper.keepNowAndThen(scan) } } }
        }
        verified.rangeCount = rangeCount
        verified.length = proof.digests.heldLength
        verified.checkedRanges = scan.checkedRanges
        verified.checkedLength = scan.checkedLength
        verified.isComplete = !isSample && scan.position == rangeCount
        verified.bad = scan.bad
        await keeper.keep(scan)
    }
}
