// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BinaryCoding
import BlockIO
import FoundationEssentials
import Qcow2Format

/// One run of the verify command.
public final class VerifyOperation: Sendable {
    private let request: VerifyRequest
    private let warn: @Sendable (String) -> Void
    private let state = Locked(State())

    private struct State {
        var scan: LayerScan?
        /// Ranges of the layers that are done.
        var doneRanges: UInt64 = 0
        var totalRanges: UInt64 = 0
        /// What became of the files that were looked at: chains have them in common.
        var layers: [FileIdentity: VerifiedLayer] = [:]
    }

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    public init(_ request: VerifyRequest, warn: @escaping @Sendable (String) -> Void) {
        self.request = request
        self.warn = warn
    }

    /// How far the run is, in bytes of the disks. May be asked at any time, from any thread.
    public var progress: BackupProgress {
        let (ranges, total) = state.withLock { ($0.doneRanges + ($0.scan?.position ?? 0), $0.totalRanges) }
        // The disks of a chain may be as large as their headers say, each of them.
        func bytes(_ ranges: UInt64) -> UInt64 { ranges.multiplied(by: ContentGeometry.rangeLength) ?? .max }
        return BackupProgress(offset: bytes(min(ranges, total)), length: bytes(total))
    }

    /// Proves the backups, one after the other.
    ///
    /// - Throws: `ServiceError` where the only one could not be looked at: it is locked, or does not exist. Of several,
    ///   its report says so.
    public func run() async throws(ServiceError) -> [VerifyReport] {
        try request.check()
        let count = request.workers ?? min(max(2 * WorkerThreads.processorCount, 4), 16)
        let clock = ContinuousClock()
        let deadline = request.duration.map { clock.now + $0 }
        return try await Inspection.run(threads: count) { () async throws(ServiceError) in
            var reports: [Int: VerifyReport] = [:]
            for index in await order(of: request.backups) {
                let backup = request.backups[index]
                let start = clock.now
                var report: VerifyReport
                do throws(ServiceError) {
                    report = try await verify(backup, workers: count) { deadline.map { clock.now >= $0 } ?? false }
                } catch {
                    // One of many that can't be looked at doesn't keep the others from it.
                    guard request.backups.count > 1 else { throw error }
                    report = VerifyReport(backup: backup)
                    report.failure = error
                }
                let elapsed = (clock.now - start).components
                report.seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
                reports[index] = report
            }
            return request.backups.indices.compactMap { reports[$0] }
        }
    }

    /// In which order to look at files. With no time for all of them, first comes that which an earlier run didn't finish,
    /// then what was looked at longest ago: else the same one would have all the time in each run.
    func order(of paths: [String]) async -> [Int] {
        guard request.duration != nil else { return Array(paths.indices) }
        var keys: [(index: Int, isFinished: Bool, checked: Date)] = []
        for (index, path) in paths.enumerated() {
            let place = try? ManifestPlace.path(besides: path, suffix: VerifyState.suffix)
            var state: VerifyState?
            if let place { state = await VerifyState(path: place) }
            keys.append((index, state?.nextRange ?? 0 == 0, state?.checked ?? .distantPast))
        }
        let sorted = keys.sorted { one, other in
            if one.isFinished != other.isFinished { return other.isFinished }
            return one.checked == other.checked ? one.index < other.index : one.checked < other.checked
        }
        return sorted.map(\.index)
    }

    private func verify(
        _ backup: String, workers: Int, isOver: @escaping @Sendable () -> Bool
    ) async throws(ServiceError) -> VerifyReport {
        var report = VerifyReport(backup: backup)
        let own = try ManifestFile(of: backup, named: request.manifest)
        let disk: OpenedDisk
        do throws(ServiceError) {
            disk = try await open(backup, own)
        } catch {
            // What can't be opened at all is not known to be a backup; what has a manifest was one.
            guard ![.locked, .permission, .usage].contains(error.code), own.exists else { throw error }
            report.problems.append(error.advice.map { "\(error.message) (\($0))" } ?? error.message)
            return report
        }
        var chain = try await VerifiedChain(disk, own: own, usesManifests: request.extent != .nothing)
        state.withLock { state in
            state.totalRanges += chain.unseen(state.layers.keys).reduce(0) { $0 + $1 }
        }
        for index in await order(of: chain.layers.map(\.path)) {
            let identity = disk.layers[index].file.identity
            if let known = state.withLock({ $0.layers[identity] }) {
                chain.layers[index].adopt(known)
                continue
            }
            await checkStructure(of: disk.layers[index], &chain.layers[index])
            if let proof = chain.proofs[index] {
                try await prove(proof, &chain.layers[index], workers: workers, isOver: isOver)
            }
            let layer = chain.layers[index]
            state.withLock { $0.layers[identity] = layer }
        }
        report.layers = chain.layers
        if let source = request.source { report.firstDifference = try await compare(disk, with: source, workers) }
        return report
    }

    private func open(_ backup: String, _ own: ManifestFile) async throws(ServiceError) -> OpenedDisk {
        let recorded = (try? await own.header())?.target.format
        let opener = DiskOpener(
            backingFormat: request.backingFormat, lock: request.forceShare ? .forcedShare : .readOnlySource,
            folder: request.chainFolder.map { ChainFolder(path: $0) })
        do throws(ChainError) {
            let disk = try await opener.open(
                backup, format: request.format ?? recorded.flatMap { ImageFormat(rawValue: $0) })
            disk.warnings.forEach(warn)
            return disk
        } catch {
            throw ServiceError(error, restoringFrom: request.chainFolder)
        }
    }

    private func checkStructure(of layer: OpenedDisk.Layer, _ verified: inout VerifiedLayer) async {
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

    // MARK: Content

    private func prove(
        _ proof: LayerProof, _ layer: inout VerifiedLayer, workers: Int, isOver: @escaping @Sendable () -> Bool
    ) async throws(ServiceError) {
        guard case .used(_, let content) = layer.manifest else { return }
        let path = try ManifestPlace.path(besides: layer.path, suffix: VerifyState.suffix)
        var known = VerifyState(content: content)
        if let earlier = await VerifyState(path: path), earlier.content == content {
            known = earlier
            // Nothing has such a place to go on from, and what was damaged must not stand for a proof.
            if known.nextRange >= proof.digests.geometry.rangeCount { known.nextRange = 0 }
        }
        let isSample: Bool
        let scan: LayerScan
        if case .sample(let share) = request.extent {
            isSample = true
            scan = LayerScan(proof, from: 0, share: share, isOver: isOver)
        } else {
            isSample = false
            // Only who has no time for all goes on where the last one stopped.
            scan = LayerScan(proof, from: request.duration == nil ? 0 : known.nextRange, isOver: isOver)
        }
        state.withLock { $0.scan = scan }
        // What was bad the last time is looked at by every run: else one that doesn't come to it would find nothing wrong.
        await scan.check(known.bad)
        await withTaskGroup { group in
            for _ in 0..<workers { group.addTask { await scan.work() } }
        }
        layer.rangeCount = proof.digests.geometry.rangeCount
        layer.checkedRanges = scan.checkedRanges
        layer.isComplete = !isSample && scan.position == layer.rangeCount
        layer.bad = scan.bad
        let rangeCount = layer.rangeCount
        state.withLock { state in
            state.scan = nil
            state.doneRanges += rangeCount
        }
        await note(layer, scan, isSample: isSample, known, at: path)
    }

    private func note(
        _ layer: VerifiedLayer, _ scan: LayerScan, isSample: Bool, _ known: VerifyState, at path: String
    ) async {
        // Where there was no time at all, nothing is known that was not known before.
        let isDamaged = layer.structureProblems?.isEmpty == false
        guard layer.checkedRanges > 0 || layer.isComplete || isDamaged else { return }
        var state = known
        state.checked = VerifyState(content: known.content).checked
        // Looked at as a whole by every run.
        state.isDamaged = isDamaged ? true : nil
        let bad = layer.bad.map { $0.range.lowerBound / ContentGeometry.rangeLength }
        state.bad = Array(bad.prefix(VerifyState.mostBad))
        if !isSample {
            state.nextRange = layer.isComplete ? 0 : scan.position
            if layer.isComplete { state.proven = layer.verdict == .bad ? nil : state.checked }
        }
        do throws(ServiceError) {
            try await state.write(to: path)
        } catch {
            warn("how far this came can't be kept: \(error.message)")
        }
    }

    private func compare(
        _ disk: OpenedDisk, with source: String, _ workers: Int
    ) async throws(ServiceError) -> UInt64? {
        let other = try await Inspection.open(
            source, format: nil, backingFormat: request.backingFormat, forceShare: request.forceShare, warn: warn)
        let scan = CompareScan(
            disk.device, other.device, length: max(disk.device.length, other.device.length))
        await withTaskGroup { group in
            for _ in 0..<workers { group.addTask { await scan.work() } }
        }
        switch scan.first {
        case .some((let offset, .difference)): return offset
        case .some((_, .failure(_, let error))): throw ServiceError(error)
        case nil: return nil
        }
    }
}
