// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DirtyBitmaps
import DiskChain
import Qcow2Format

/// The source's bitmap that a backup works by, or starts anew.
///
/// Nothing of it changes in the image before `finish`. That is called once the target is on stable storage under its
/// name, so whatever ends a run before leaves the bitmap as it was, and every change is in it or in a finished backup.
struct SourceBitmap: Sendable {
    /// What `finish` does.
    private enum Ending: Equatable {
        case nothing
        case update
        case add
        /// Removes the bitmap, which can't be relied on, and adds one of the same name.
        case replace
        /// Tells why no bitmap can be made: the image's own are damaged too much.
        case failure(reason: String)
    }

    let name: String
    /// What becomes of it.
    private(set) var mode: BitmapMode
    /// What is dirty: nothing in a bitmap that is going to be made.
    let bits: DirtyBitmap
    /// Since which backup it counts; `nil` where that is not known.
    let origin: BitmapOrigin?
    /// Backups that other bitmaps of the disk count from, made after that one.
    let laterBackups: [BackupID]
    private let backingStamp: UInt64
    /// Whether a backup in which nothing changed is noted as well.
    private var alwaysSetsOrigin: Bool
    /// Why a full backup is to be made where an increment was asked for; `nil` where it need not.
    private(set) var fallback: String?
    private var ending: Ending
    /// `nil` where they can't be opened.
    private let bitmaps: PersistentBitmaps?
    private let image: String
    /// The image's file, where its bitmaps may change.
    private let file: (any Storage)?

    /// Whether what a change that failed has left is not known.
    var isUncertain: Bool { bitmaps?.isUncertain == true }

    /// Finds the bitmap that a request names, and makes sure that it can be done what the request says.
    ///
    /// - Parameter disk: the source, opened with `changesBitmaps` where `mayChange` says so.
    /// - Throws: `ServiceError`: there is none, it can't be relied on, the image can't be changed.
    init(_ name: String, _ request: BackupRequest, of disk: OpenedDisk, warn: (String) -> Void)
        async throws(ServiceError)
    {
        let layer = disk.layers[0]
        let file = try layer.imageWithBitmaps()
        self.name = name
        image = layer.path
        self.file = Self.mayChange(request) ? layer.file : nil
        backingStamp = BackingStamp.of(disk)
        alwaysSetsOrigin = !request.sync.isIncrement || request.trustsChain
        let cleanBits = try await Self.cleanBits(request.granularity, for: disk)
        let bitmaps: PersistentBitmaps
        do throws(BlockError) {
            bitmaps = try await file.openBitmaps(forWriting: Self.mayChange(request))
        } catch {
            let failure = Self.unopened(error)
            // A backup tonight is worth more than a bitmap.
            guard request.fallsBackToFull, failure.code == .corrupt || failure.code == .unsupported else {
                throw failure
            }
            self.bitmaps = nil
            (origin, laterBackups) = (nil, [])
            bits = cleanBits
            mode = .onSuccess
            ending = .failure(reason: failure.message)
            fallback = request.sync.isIncrement ? failure.message : nil
            warn("\(failure.message): making a full backup, and no bitmap")
            return
        }
        self.bitmaps = bitmaps
        origin = bitmaps.origin(of: name)
        laterBackups = bitmaps.originsSince(name)
        let found = try await Self.find(name, request, in: bitmaps, of: image, backingStamp: backingStamp)
        switch found {
        case .usable(let bits):
            self.bits = bits
            mode = request.impliedBitmapMode
            ending = mode == .never ? .nothing : .update
            fallback = nil
        case .unusable(let reason, let isMissing):
            mode = .onSuccess
            ending = isMissing ? .add : .replace
            if request.sync.isIncrement {
                guard request.fallsBackToFull else {
                    throw ServiceError(
                        isMissing ? .notFound : .inconsistent, reason,
                        advice: "--fallback=full makes a full backup instead, and starts the bitmap anew")
                }
                fallback = reason
                warn("\(reason): making a full backup, and starting the bitmap anew")
            } else {
                guard request.createsBitmap || request.fallsBackToFull else {
                    throw ServiceError(
                        isMissing ? .notFound : .inconsistent, reason,
                        advice: "--create-bitmap makes a new one")
                }
                fallback = nil
                if !isMissing { warn("\(reason): starting it anew") }
            }
            bits = cleanBits
        }
        try await translated { () async throws(BlockError) in
            // Better known now than once everything is copied.
            try await bitmaps.check(changes(leaving: bits, isForced: true))
        }
    }

    /// Whether a request needs the source to be opened so that its bitmap can change.
    static func mayChange(_ request: BackupRequest) -> Bool {
        request.bitmap != nil && (request.bitmapMode != .never || request.fallsBackToFull)
    }

    /// The same bitmap for a full backup that is made because an increment can't be: it is cleared, whatever the mode says.
    func startedAnew(because reason: String) -> SourceBitmap {
        var copy = self
        copy.fallback = reason
        copy.mode = .onSuccess
        copy.alwaysSetsOrigin = true
        if copy.ending == .nothing { copy.ending = .update }
        return copy
    }

    // MARK: The end

    /// - Parameters:
    ///   - left: what stays dirty.
    ///   - isForced: whether to count what changes nothing.
    private func changes(leaving left: DirtyBitmap, isForced: Bool = false) -> [BitmapChange] {
        let added = BitmapChange.add(name: name, granularity: bits.granularity, isRecording: true)
        let stored = left.isEmpty ? [] : [BitmapChange.store(left, as: name)]
        switch ending {
        case .nothing, .failure: return []
        case .add: return [added] + stored
        case .replace: return [.remove(name: name), added] + stored
        case .update:
            if left.isEmpty { return bits.isEmpty && !isForced ? [] : [.clear(name: name)] }
            return stored
        }
    }

    /// Brings the bitmap into the state that a backup leaves it in which is on stable storage.
    ///
    /// - Parameters:
    ///   - left: what is dirty after the backup.
    ///   - target: where the backup is.
    ///   - identity: which one it is; `nil` where it doesn't say.
    /// - Throws: `ServiceError` with the code `bitmapNotUpdated`.
    func finish(
        leaving left: DirtyBitmap, target: String, identity: BackupIdentity?
    ) async throws(ServiceError) {
        if case .failure(let reason) = ending {
            throw Self.notUpdated(
                target, "bitmap '\(name)' could not be made: \(reason)",
                advice: "qcowbackup check -r all may mend the image")
        }
        // The image may be open for reading only.
        guard let bitmaps, ending != .nothing else { return }
        var changes = changes(leaving: left)
        // Where nothing changed, an increment is as good to go on as its parent.
        guard !changes.isEmpty || alwaysSetsOrigin else { return }
        let origin = BitmapOrigin(backup: identity?.id, backingStamp: backingStamp)
        changes.append(.setOrigin(name: name, origin))
        do throws(BlockError) {
            try await bitmaps.apply(changes)
        } catch {
            let state =
                bitmaps.isUncertain
                ? "whether it has changed is not known" : ending == .add ? "there is none yet" : "it is as it was"
            throw Self.notUpdated(
                target, "bitmap '\(name)' could not be updated: \(error); \(state)",
                advice: ending == .update
                    ? "let the next increment go on from this backup: it copies the same changes once more"
                    : "the next backup must be a full one again")
        }
    }

    private static func notUpdated(_ target: String, _ reason: String, advice: String) -> ServiceError {
        ServiceError(.bitmapNotUpdated, "\(target): the backup is complete, but \(reason)", advice: advice)
    }

    /// Ends the use of the image and of its bitmaps, and says what the user should know of them.
    ///
    /// - Throws: `ServiceError` with the code `bitmapNotUpdated` where the image's storage takes the change back.
    func close(target: String, warn: (String) -> Void) async throws(ServiceError) {
        guard let bitmaps else { return }
        do throws(BlockError) {
            try await bitmaps.close()
        } catch {
            warn("\(error)")
        }
        bitmaps.warnings.forEach(warn)
        guard let file, let error = NameCalls.current.close(file) else { return }
        throw Self.notUpdated(
            target, "\(ServiceError(notArrived: error).message); whether bitmap '\(name)' has changed is not known",
            advice: "look with qcowbackup bitmap list")
    }
}
