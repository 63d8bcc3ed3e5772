// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
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
    /// Called where something of the content was looked at.
    let looked: @Sendable () -> Void

    func checkStructure(_ verified: inout VerifiedLayer) async {
        guard layer.format == .qcow2 else {
            verified.wasSeen = true
            return
        }
        do throws(BlockError) {
            let report = try await Qcow2Check(layer.file).run()
            if report.leaks > 0 {
                warn("\(layer.path) wastes space: \(report.leaks) clusters are marked as used and are not")
            }
            var problems: [String] = []
            if report.corruptions > 0 { problems.append("\(report.corruptions) errors in its structure") }
            if report.checkErrors > 0 { problems.append("\(report.checkErrors) parts of it could not be checked") }
            (verified.wasSeen, verified.structureProblems) = (true, problems)
        } catch .cancelled {
            // Nothing is known.
        } catch {
            (verified.wasSeen, verified.structureProblems) = (true, [ServiceError(error).message])
        }
    }

    /// - Parameters:
    ///   - manifest: the layer's own.
    ///   - starting: called with what tells how far it is.
    func prove(
        _ proof: LayerProof, by manifest: ManifestHeader, _ verified: inout VerifiedLayer, starting: (LayerScan) -> Void
    ) async throws(ServiceError) {
        let files = StoredFiles(layer)
        let path = try ManifestPlace.path(besides: layer.path, suffix: VerifyState.suffix)
        var known: VerifyState?
        if let files {
            known =
                await VerifyState(path: path)?.applied(to: manifest, in: files) ?? VerifyState(of: manifest, in: files)
        }
        let rangeCount = proof.digests.geometry.rangeCount
        // Nothing has such a place to go on from, and what was damaged must not stand for a proof.
        if let next = known?.nextRange, next >= rangeCount { known?.nextRange = 0 }
        let (isSample, share) = if case .sample(let share) = extent { (true, share) } else { (false, 1.0) }
        // What was bad the last time is looked at by every run: else one that doesn't come to it would find nothing wrong.
        // And a sample of a few ranges is none where chance leaves out all of them.
        var first = known?.bad ?? []
        if isSample, rangeCount > 0, let range = try? await proof.digests.heldRange(from: .random(in: 0..<rangeCount)) {
            first.append(range)
        }
        let scan = LayerScan(
            proof, first: first, from: isLimited && !isSample ? known?.nextRange ?? 0 : 0, share: share, isOver: isOver)
        starting(scan)
        let isDamaged = verified.structureProblems?.isEmpty == false
        let keeper = known.map {
            ProofKeeper(path: path, known: $0, isSample: isSample, isDamaged: isDamaged, warn: warn)
        }
        await work(scan, keeper)
        if let keeper {
            // Another run may have found more meanwhile.
            let more = await keeper.newlyBad(scan)
            if !more.isEmpty {
                scan.addFirst(more)
                await work(scan, keeper)
            }
        }
        verified.rangeCount = rangeCount
        verified.length = proof.digests.heldLength
        verified.checkedRanges = scan.checkedRanges
        verified.checkedLength = scan.checkedLength
        verified.isComplete = !isSample && scan.position == rangeCount
        verified.bad = scan.bad
        verified.unseenBad = keeper?.unseenBad(by: scan).count ?? 0
        guard StoredFiles(layer) == files else {
            // What was read belongs to no file that there is.
            verified.hasChanged = true
            return
        }
        await keeper?.keep(scan)
    }

    private func work(_ scan: LayerScan, _ keeper: ProofKeeper?) async {
        await withTaskGroup { group in
            for _ in 0..<workers {
                group.addTask {
                    await scan.work {
                        looked()
                        await keeper?.keepNowAndThen(scan)
                    }
                }
            }
        }
    }
}
