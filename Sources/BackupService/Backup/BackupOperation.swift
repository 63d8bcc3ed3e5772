// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DiskChain
import Qcow2Format

/// One run of the backup command: opens the source, makes the target, copies, and makes the result durable.
package final class BackupOperation: Sendable {
    private let request: BackupRequest
    private let warn: @Sendable (String) -> Void
    /// Opens the source in another way than `request` says; `nil` for a backup.
    private let opening: SourceOpening?
    private let job = Locked<BackupJob?>(nil)
    private let operation = OperationRun()

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    package convenience init(_ request: BackupRequest, warn: @escaping @Sendable (String) -> Void) {
        self.init(request, opening: nil, warn: warn)
    }

    typealias SourceOpening = @Sendable () async throws(ServiceError) -> OpenedSource

    init(_ request: BackupRequest, opening: SourceOpening?, warn: @escaping @Sendable (String) -> Void) {
        self.request = request
        self.opening = opening
        self.warn = warn
    }

    /// How far the run is. May be asked at any time, from any thread.
    package var progress: BackupProgress {
        guard let progress = job.withLock({ $0 })?.progress else { return BackupProgress(offset: 0, length: 0) }
        return BackupProgress(offset: progress.offset, length: progress.length)
    }

    /// Asks the run to end: `run` then throws `cancelled` once the target is cleaned up. A run that has copied
    /// everything already may still succeed.
    package func cancel() {
        operation.cancel()
    }

    /// Makes a run stand still that copies, and go on one that stands still, for whatever reason.
    ///
    /// - Returns: whether it stands still now; `nil` where there is nothing to pause yet, or any more.
    package func togglePause() -> Bool? {
        guard let job = job.withLock({ $0 }) else { return nil }
        do throws(JobError) {
            try job.resume()
            return false
        } catch .notPaused {
            // Both verbs fail on a job that is over.
            return (try? job.pause()).map { true }
        } catch {
            return nil
        }
    }

    /// Runs the backup. Returns once it is complete and on stable storage; the summary says whether the bitmap follows.
    ///
    /// - Throws: `ServiceError`; the target is then absent, or marked unfinished where it existed before.
    package func run() async throws(ServiceError) -> BackupSummary {
        let count = request.workers ?? WorkerThreads.defaultCount(atMost: 64)
        return try await operation(threads: count) { (workers) async throws(ServiceError) in
            try await self.backUp(workers)
        }
    }

    private func backUp(_ workers: WorkerThreads) async throws(ServiceError) -> BackupSummary {
        let clock = ContinuousClock()
        let start = clock.now
        try request.check()
        let opened = try await openSource()
        let source = opened.disk
        var plan = BackupPlan(
            source: opened, sync: source.backing == nil && request.sync == .top ? .full : request.sync)
        if request.onSourceError == .ignore, let image = source.device as? Qcow2Image {
            // Broken tables are for the job to find.
            plan.lostPadding = (try? await image.lostPadding()) ?? []
        }
        if let name = request.bitmap {
            try await plan.use(SourceBitmap(name, request, of: source, warn: warn))
            if plan.bitmap?.fallback != nil { try await request.checkFallbackTarget() }
        }
        var summary: BackupSummary
        do throws(ServiceError) {
            if plan.sync.isIncrement { try await putOnParent(&plan) }
            summary = try await backUp(plan, on: workers)
        } catch {
            try? await plan.close(target: request.target, warn: warn)
            throw error
        }
        do throws(ServiceError) {
            try await plan.close(target: request.target, warn: warn)
        } catch {
            summary.bitmap?.update = .unknown
            summary.bitmapFailure = summary.bitmapFailure ?? error
        }
        let elapsed = (clock.now - start).components
        summary.seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
        return summary
    }

    /// Has an increment go on its parent; or makes a full backup of it where that can't be, and it is asked for.
    private func putOnParent(_ plan: inout BackupPlan) async throws(ServiceError) {
        do throws(ServiceError) {
            // A plan that failed is of no use.
            var attempt = plan
            let chain = try await ParentChain(request, for: plan.source)
            try await attempt.put(on: chain, trustsChain: request.trustsChain, warn: warn)
            plan = attempt
        } catch {
            guard request.fallsBackToFull, Self.isOfParent(error) else { throw error }
            warn("\(error.message): making a full backup, and starting the bitmap anew")
            plan.fallBack(because: error.message)
            try await request.checkFallbackTarget()
        }
    }

    /// Whether a parent is not there, can't be read, or isn't the one; and not named by mistake, or in use just now.
    private static func isOfParent(_ error: ServiceError) -> Bool {
        switch error.code {
        case .notFound, .corrupt, .inconsistent, .unsupported, .permission, .io: true
        case .usage, .locked, .exists, .noSpace, .bitmapNotUpdated, .cancelled: false
        }
    }

    /// Makes the target, copies, makes it durable, and only then lets the bitmap follow.
    private func backUp(_ plan: BackupPlan, on workers: WorkerThreads) async throws(ServiceError) -> BackupSummary {
        try checkCancelled()
        let place = try await ManifestPlace(for: request)
        try place?.check(against: plan.source.layers + (plan.parent?.disk.layers ?? []), request)
        let maker = TargetMaker(
            request: request, source: plan.source, sync: plan.sync, parent: plan.parent, layout: plan.layout, warn: warn
        )
        // Nothing of a target that exists changes before the first write: so what stands in the manifest's way is told in
        // time.
        let target = try await maker.make()
        var file: UnnamedFile?
        do throws(ServiceError) {
            file = try await manifestFile(at: place, of: target, readFiles: maker.readFiles)
            return try await backUp(plan, to: target, maker.identity, place, file, on: workers)
        } catch {
            file?.remove()
            if !request.keepPartial { target.discard() }
            throw error
        }
    }

    private func backUp(
        _ plan: BackupPlan, to target: BackupTarget, _ identity: BackupIdentity?, _ place: ManifestPlace?,
        _ file: UnnamedFile?, on workers: WorkerThreads
    ) async throws(ServiceError) -> BackupSummary {
        let jobSource = try plan.makeJobSource()
        let draft = draft(in: file, for: target)
        var summary = try await copy(jobSource, to: draft?.device ?? target.device, plan, on: workers)
        try checkCancelled()
        summary.addUnreadable(plan.lostPadding)
        let content = try await draft?.finish(plan)
        // What gets a name of its own is finished first, and its manifest after it; what has its name becomes whole last.
        if !target.isInPlace { try await target.finish() }
        var manifest: WrittenManifest?
        if let draft, let content, let id = identity?.id {
            manifest = try await draft.write(
                content, request, plan, id: id, unreadable: summary.unreadable, raw: target.rawStamp)
        }
        try Publication(files: target.newFiles + (manifest.map { [$0.file] } ?? [])).publish()
        do throws(ServiceError) {
            try place?.clear(isReplaced: manifest != nil)
            if target.isInPlace { try await target.finish() }
        } catch {
            if target.isInPlace { manifest?.file.withdraw() }
            throw error
        }
        summary.targetLength = target.fileLength
        summary.proof = plan.proof
        summary.manifest = manifest.map { ManifestSummary(path: $0.file.place.path, content: $0.content) }
        if let bitmap = plan.bitmap, let left = plan.dirty(in: jobSource) {
            do throws(ServiceError) {
                // The backup has its name: now the bitmap follows, whatever is asked for meanwhile.
                try await Cancellation.ignoring { () async throws(ServiceError) in
                    try await bitmap.finish(leaving: left, target: request.target, identity: target.identity)
                }
            } catch {
                // The backup is complete all the same.
                summary.bitmap?.update = bitmap.isUncertain ? .unknown : .failed
                summary.bitmapFailure = error
            }
        }
        return summary
    }

    /// - Returns: `nil` where no manifest is asked for, and where it has no place.
    private func manifestFile(
        at place: ManifestPlace?, of target: BackupTarget, readFiles: [StorageIdentity]
    ) async throws(ServiceError) -> UnnamedFile? {
        guard request.isBackup, request.digest != nil, let place else { return nil }
        let isElsewhere = place.filePlace.folder != FilePlace(path: request.target).folder
        return try await place.filePlace.create(
            copyRange: .never, readFiles: readFiles, checksNaming: isElsewhere || target.isInPlace)
    }

    private func draft(in file: UnnamedFile?, for target: BackupTarget) -> ManifestDraft? {
        guard let file, let algorithm = request.digest else { return nil }
        return ManifestDraft(in: file, algorithm: algorithm, target: target.device)
    }

    private func checkCancelled() throws(ServiceError) {
        if operation.isCancelled { throw .cancelled }
    }

    private func openSource() async throws(ServiceError) -> OpenedSource {
        if let opening { return try await opening() }
        let opener = DiskOpener(
            backingFormat: request.backingFormat, lock: request.forceShare ? .forcedShare : .readOnlySource,
            changesBitmaps: SourceBitmap.mayChange(request))
        do throws(ChainError) {
            let disk = try await opener.open(request.source, format: request.sourceFormat, snapshot: request.snapshot)
            disk.warnings.forEach(warn)
            return OpenedSource(disk: disk)
        } catch {
            if request.parent != nil, case .unknownBackingFormat = error { throw ParentChain.formatNotRecorded(error) }
            throw ServiceError(error)
        }
    }

    private func copy(
        _ source: any BlockDevice, to target: any BlockDevice, _ plan: BackupPlan, on workers: WorkerThreads
    ) async throws(ServiceError) -> BackupSummary {
        do throws(JobError) {
            var configuration = BackupJob.Configuration(request, sync: plan.sync, bitmap: plan.bitmap)
            configuration.maxWorkers = configuration.maxWorkers.map { min($0, workers.count) }
            let job = try await BackupJob(
                source: source, target: target, configuration: configuration,
                registry: JobRegistry())
            job.warnings.forEach(warn)
            let observer = JobObserver(warn: warn)
            let observation = Task(executorPreference: workers) { await observer.follow(job.events) }
            self.job.withLock { $0 = job }
            let end: Result<Void, JobError>
            do throws(JobError) { end = .success(try await job.run(on: workers)) } catch { end = .failure(error) }
            // What was said of the job comes before what is said of its end.
            await observation.value
            try end.get()
            let counters = job.progress.counters
            let unmarked = plan.sync.isIncrement ? source.length - min(source.length, job.progress.length) : 0
            return BackupSummary(
                target: request.target, sync: plan.sync, virtualSize: source.length, bytesRead: counters.read,
                bytesWritten: counters.written, bytesZero: counters.zero, bytesSkipped: counters.skipped + unmarked,
                bytesOffloaded: counters.offloaded, unreadable: job.unreadableRanges(), bitmap: plan.bitmapSummary)
        } catch {
            throw request.gaveUp(ServiceError(error), error)
        }
    }
}
