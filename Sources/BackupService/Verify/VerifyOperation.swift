// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BinaryCoding
import BlockIO
import DiskChain
import FoundationEssentials
import Qcow2Format

/// One run of the verify command.
package final class VerifyOperation: Sendable {
    private let request: VerifyRequest
    private let warn: @Sendable (String) -> Void
    private let state = Locked(State())
    private let operation = OperationRun()

    private struct State {
        var scan: LayerScan?
        /// Ranges of the layers that are done.
        var doneRanges: UInt64 = 0
        var totalRanges: UInt64 = 0
        /// What became of the files that were looked at: chains have them in common.
        var layers: [VerifiedChain.Subject: VerifiedLayer] = [:]
        /// Whether any content was looked at.
        var hasLooked = false
    }

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    package init(_ request: VerifyRequest, warn: @escaping @Sendable (String) -> Void) {
        self.request = request
        self.warn = warn
    }

    /// How far the run is, in bytes of the disks. May be asked at any time, from any thread.
    package var progress: BackupProgress {
        let (ranges, total) = state.withLock { ($0.doneRanges + ($0.scan?.position ?? 0), $0.totalRanges) }
        // The disks of a chain may be as large as their headers say, each of them.
        func bytes(_ ranges: UInt64) -> UInt64 { ranges.multiplied(by: ContentGeometry.rangeLength) ?? .max }
        return BackupProgress(offset: bytes(min(ranges, total)), length: bytes(total))
    }

    /// Ends the run soon, as if there were no time left. May be called at any time, from any thread.
    package func stop() {
        operation.cancel()
    }

    /// Proves the backups, one after the other.
    ///
    /// - Throws: `ServiceError` where the only one could not be looked at: it is locked, or does not exist. Of several,
    ///   its report says so.
    package func run() async throws(ServiceError) -> [VerifyReport] {
        try request.check()
        let count = request.workers ?? WorkerThreads.defaultCount(atMost: 16)
        let clock = ContinuousClock()
        let deadline = request.duration.map { clock.now + $0 }
        // However little time there is, each run comes a piece further.
        let isOver = { @Sendable [operation, state] in
            if operation.isCancelled { return true }
            guard let deadline, clock.now >= deadline else { return false }
            return state.withLock { $0.hasLooked }
        }
        return try await operation(threads: count) { [self] threads async throws(ServiceError) in
            var reports: [Int: VerifyReport] = [:]
            for index in await order(of: request.backups) where reports.isEmpty || !operation.isCancelled {
                let backup = request.backups[index]
                let start = clock.now
                var report: VerifyReport
                do throws(ServiceError) {
                    report = try await verify(backup, workers: threads.count, isOver: isOver)
                } catch {
                    // What was looked at before stands.
                    if error.code == .cancelled, !reports.isEmpty { break }
                    // One of many that can't be looked at doesn't keep the others from it.
                    guard request.backups.count > 1, error.code != .cancelled else { throw error }
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
            guard let file = try? await ManifestFile(besides: path), file.exists,
                let place = try? ManifestPlace.path(besides: path, suffix: VerifyState.suffix)
            else {
                // Of what can't be proven nothing is kept: it would be first each time.
                keys.append((index, true, .distantFuture))
                continue
            }
            let state = await VerifyState(path: place)
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
        let own = try await ManifestFile(of: backup, named: request.manifest)
        let disk: OpenedDisk
        do throws(ServiceError) {
            disk = try await open(backup, own)
        } catch {
            // What can't be opened at all is not known to be a backup; what has a manifest was one.
            guard await wasBackup(backup, own, failed: error) else { throw error }
            // Nothing that a cancelled task says of a file can be relied on.
            if operation.isCancelled { throw .cancelled }
            report.problems.append(error.advice.map { "\(error.message) (\($0))" } ?? error.message)
            return report
        }
        if request.format == nil, !own.exists { try await checkIsDisk(disk.layers[0]) }
        // Before anything takes its time.
        let source = try await openSource()
        var chain = try await VerifiedChain(disk, own: own, usesManifests: request.extent != .nothing)
        state.withLock { state in
            state.totalRanges += chain.unseen(state.layers.keys).reduce(0) { $0 + $1 }
        }
        for index in await order(of: chain.layers.map(\.path)) {
            if operation.isCancelled { break }
            let subject = chain.subject(of: index)
            if let known = state.withLock({ $0.layers[subject] }) {
                chain.layers[index].adopt(known)
                continue
            }
            let verification = LayerVerification(
                layer: disk.layers[index], extent: request.extent, isLimited: request.duration != nil,
                workers: workers, warn: warn, isOver: isOver
            ) { [state] in state.withLock { $0.hasLooked = true } }
            await verification.checkStructure(&chain.layers[index])
            if operation.isCancelled { break }
            if let proof = chain.proofs[index], let manifest = chain.manifests[index] {
                var layer = chain.layers[index]
                // It stops by itself, and keeps what is proven until then.
                try await Cancellation.ignoring { () async throws(ServiceError) in
                    try await verification.prove(proof, by: manifest, &layer) { scan in
                        state.withLock { $0.scan = scan }
                    }
                }
                chain.layers[index] = layer
                let rangeCount = chain.layers[index].rangeCount
                state.withLock { state in
                    state.scan = nil
                    state.doneRanges += rangeCount
                }
            }
            let layer = chain.layers[index]
            state.withLock { $0.layers[subject] = layer }
        }
        report.layers = chain.layers
        if let source {
            do throws(ServiceError) {
                report.comparison = try await Cancellation.ignoring { () async throws(ServiceError) in
                    try await compare(disk, with: source, workers: workers, isOver: isOver)
                }
            } catch {
                // What is proven stands.
                report.failure = error
            }
        }
        return report
    }

    /// Whether what can't be opened is a backup that was damaged, and not something that is in use or elsewhere.
    private func wasBackup(_ path: String, _ own: ManifestFile, failed error: ServiceError) async -> Bool {
        guard own.exists else { return false }
        switch error.code {
        case .notFound:
            // A backing file that is elsewhere says nothing against the backup; one that was never its own does.
            guard let file = try? LocalStorage.open(path, access: .readOnly, lock: nil),
                let image = try? await Qcow2File(file, forInspection: true)
            else { return true }
            let header: ManifestHeader
            do throws(ServiceError) {
                header = try await own.sealedHeader()
            } catch {
                // Storage that fails to read the manifest says nothing against the backup either.
                return error.code == .corrupt
            }
            return image.references.backingFileName != header.parent?.name
        // Nothing that this program writes is unsupported.
        case .corrupt, .inconsistent, .unsupported: return true
        default: return false
        }
    }

    private func open(_ backup: String, _ own: ManifestFile) async throws(ServiceError) -> OpenedDisk {
        let recorded = (try? await own.sealedHeader())?.target.format
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

    /// Says of a file that nobody has named a format for, and that has no manifest, what it is where it is no disk.
    ///
    /// - Throws: for what is empty, a manifest, or looks like an unfinished backup.
    private func checkIsDisk(_ layer: OpenedDisk.Layer) async throws(ServiceError) {
        guard layer.format == .raw, !layer.file.isFixed else { return }
        guard layer.file.length > 0 else {
            throw ServiceError(.inconsistent, "\(layer.path) is empty: it is no backup", advice: nil)
        }
        let start = try await translated { () async throws(BlockError) in
            try await layer.file.contents(at: 0, count: Int(min(layer.file.length, 512)))
        }
        if Manifest.isManifest(start) {
            throw ServiceError(
                .inconsistent, "\(layer.path) is a manifest, and no backup",
                advice: "name the backup that it lies beside")
        }
        if start.allSatisfy({ $0 == 0 }) {
            throw ServiceError(
                .inconsistent,
                "\(layer.path) begins with zeroes and has no manifest: a backup that was interrupted looks like this",
                advice: "make the backup again; if it is a raw disk, say so with -f raw")
        }
        warn("\(layer.path) is no qcow2 image, and taken for a raw disk: nothing shows that it is a backup")
    }

    private func openSource() async throws(ServiceError) -> OpenedDisk? {
        guard let source = request.source else { return nil }
        return try await Inspection.open(
            source, format: nil, backingFormat: request.backingFormat, forceShare: request.forceShare, warn: warn)
    }

    private func compare(
        _ disk: OpenedDisk, with other: OpenedDisk, workers: Int, isOver: @escaping @Sendable () -> Bool
    ) async throws(ServiceError) -> VerifyReport.Comparison {
        let length = max(disk.device.length, other.device.length)
        let scan = CompareScan(disk.device, other.device, length: length, isOver: isOver)
        await withTaskGroup { group in
            for _ in 0..<workers { group.addTask { await scan.work() } }
        }
        var firstDifference: UInt64?
        switch scan.first {
        case .some((let offset, .difference)): firstDifference = offset
        case .some((_, .failure(_, let error))): throw ServiceError(error)
        case nil: break
        }
        return VerifyReport.Comparison(
            firstDifference: firstDifference, comparedLength: scan.done, length: length)
    }
}
