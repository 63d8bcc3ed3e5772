// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import DiskChain
import Qcow2Format

/// One run of the bitmap command.
package struct BitmapOperation: Sendable {
    private let request: BitmapRequest
    private let warn: @Sendable (String) -> Void

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    package init(_ request: BitmapRequest, warn: @escaping @Sendable (String) -> Void) {
        self.request = request
        self.warn = warn
    }

    /// Does what is asked for. Returns once it is on stable storage.
    ///
    /// - Returns: the bitmaps as they are then.
    /// - Throws: `ServiceError`; the bitmaps are then as they were, unless the message says otherwise.
    package func run() async throws(ServiceError) -> BitmapReport {
        try await Inspection.run { () async throws(ServiceError) in try await perform() }
    }

    private func perform() async throws(ServiceError) -> BitmapReport {
        switch request.action {
        case .list(let countsDirty):
            let lock: ImageLockMode = request.forceShare ? .forcedShare : .readOnlySource
            let image = try await open(request.image, access: .readOnly, lock: lock).image
            let bitmaps = try await openBitmaps(of: image, forWriting: false)
            return await report(bitmaps, countsDirty: countsDirty)
        case .add(let name, let granularity, let isRecording):
            return try await change(.add(name: name, granularity: granularity, isRecording: isRecording))
        case .remove(let name): return try await change(.remove(name: name))
        case .clear(let name): return try await change(.clear(name: name))
        case .enable(let name): return try await apply([.setRecording(name: name, true)], enabling: name)
        case .disable(let name): return try await change(.setRecording(name: name, false))
        case .merge(let sources, let other, let target):
            guard let other, try !isSameFile(other, request.image) else {
                return try await change(.merge(sources: sources, into: target))
            }
            return try await merge(sources, of: other, into: target)
        }
    }

    private func change(_ change: BitmapChange) async throws(ServiceError) -> BitmapReport {
        try await apply([change])
    }

    /// Opens the image for writing, makes changes, and closes it.
    ///
    /// - Parameter enabled: a bitmap that records from then on; `nil` for none.
    private func apply(
        _ changes: [BitmapChange], enabling enabled: String? = nil
    ) async throws(ServiceError) -> BitmapReport {
        let (image, file) = try await open(request.image, access: .readWrite, lock: .writable)
        let bitmaps = try await openBitmaps(of: image, forWriting: true)
        let isGap = enabled.flatMap { bitmaps[$0] }.map { !$0.isRecording } ?? false
        do throws(BlockError) {
            do throws(BlockError) {
                try await bitmaps.apply(changes)
            } catch {
                // What the file was given is given back either way; the first error is the one to tell.
                try? await bitmaps.close()
                throw error
            }
            try await bitmaps.close()
        } catch {
            bitmaps.warnings.forEach(warn)
            let failure = ServiceError(error)
            guard bitmaps.isUncertain else { throw failure }
            throw ServiceError(
                failure.code, "\(failure.message); whether the bitmap has changed is not known",
                advice: "look with qcowbackup bitmap list")
        }
        bitmaps.warnings.forEach(warn)
        if let error = NameCalls.current.close(file) {
            let failure = ServiceError(notArrived: error)
            throw ServiceError(
                failure.code, "\(failure.message); whether the bitmap has changed is not known",
                advice: "look with qcowbackup bitmap list")
        }
        if let enabled, isGap {
            warn(
                "what was written while bitmap '\(enabled)' was disabled is not in it: merge a bitmap that recorded it, or "
                    + "start anew with a full backup (--sync=full --bitmap)")
        }
        return await report(bitmaps, countsDirty: false)
    }

    private func merge(
        _ sources: [String], of other: String, into target: String
    ) async throws(ServiceError) -> BitmapReport {
        let image = try await open(other, access: .readOnly, lock: .readOnlySource).image
        let bitmaps = try await openBitmaps(of: image, forWriting: false)
        var changes: [BitmapChange] = []
        for source in sources {
            changes.append(.mergeBits(try await load(source, of: bitmaps), into: target))
        }
        return try await apply(changes)
    }

    private func report(_ bitmaps: PersistentBitmaps, countsDirty: Bool) async -> BitmapReport {
        var report = BitmapReport(image: request.image, bitmaps: [])
        for bitmap in bitmaps.list {
            var dirtyLength: UInt64?
            if countsDirty, bitmap.defect == nil {
                do throws(ServiceError) {
                    dirtyLength = try await load(bitmap.name, of: bitmaps).dirtyLength
                } catch {
                    // The others can be told all the same.
                    warn(error.message)
                }
            }
            report.bitmaps.append(
                BitmapReport.Bitmap(
                    name: bitmap.name, granularity: bitmap.granularity, isRecording: bitmap.isRecording,
                    defect: bitmap.defect, dirtyLength: dirtyLength))
        }
        return report
    }

    // MARK: Calls into the format, with their errors translated

    private func open(
        _ path: String, access: StorageAccess, lock: ImageLockMode
    ) async throws(ServiceError) -> (image: Qcow2File, file: any Storage) {
        return try await translated { () async throws(BlockError) in
            let file = try LocalStorage.open(path, access: access, lock: lock)
            if let warning = file.lockWarning("make sure that nothing else uses it") { warn(warning) }
            let image = try await Qcow2File.opened(file)
            image.warnings.forEach(warn)
            return (image, file)
        }
    }

    private func openBitmaps(of image: Qcow2File, forWriting: Bool) async throws(ServiceError) -> PersistentBitmaps {
        try await translated { () async throws(BlockError) in try await image.openBitmaps(forWriting: forWriting) }
    }

    private func load(_ name: String, of bitmaps: PersistentBitmaps) async throws(ServiceError) -> DirtyBitmap {
        try await translated { () async throws(BlockError) in try await bitmaps.load(name) }
    }

    private func isSameFile(_ one: String, _ other: String) throws(ServiceError) -> Bool {
        return try translated { () throws(BlockError) in
            try FileStatus(path: one)?.identity == FileStatus(path: other)?.identity
        }
    }
}
