// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// What the operations have in common that only look at images.
enum Inspection {
    /// Bytes at an image's start that our backups hold back until everything else is on stable storage.
    static let headLength = UInt64(HeadLastDevice.defaultHeadLength)
    /// Bytes of a backup that are written last of all.
    static let sectorLength = HeadLastDevice.sectorLength

    /// Whether a file has the name that a backup has until it is complete.
    static func isPartial(_ path: String) -> Bool { path.hasSuffix(FilePlace.partialSuffix) }

    /// Runs work on a thread of its own, on which it may block.
    static func run<Value: Sendable>(
        _ body: @escaping @Sendable () async throws(ServiceError) -> Value
    ) async throws(ServiceError) -> Value {
        try await OperationRun()(threads: 1) { (_) async throws(ServiceError) in try await body() }
    }

    /// Opens a disk with its chain.
    static func open(
        _ path: String, format: ImageFormat?, backingFormat: ImageFormat?, snapshot: String? = nil, forceShare: Bool,
        warn: @Sendable (String) -> Void
    ) async throws(ServiceError) -> OpenedDisk {
        let opener = DiskOpener(backingFormat: backingFormat, lock: forceShare ? .forcedShare : .readOnlySource)
        do throws(ChainError) {
            let disk = try await opener.open(path, format: format, snapshot: snapshot)
            disk.warnings.forEach(warn)
            return disk
        } catch {
            if case .file(let failed, _, .layer(let cause)) = error,
                let problem = await unfinished(failed, cause as? Qcow2Error)
            {
                throw problem
            }
            throw ServiceError(error)
        }
    }

    /// The error to tell in place of “no qcow2 image”, where the file's first sector is blank.
    static func unfinished(_ path: String, _ error: Qcow2Error?) async -> ServiceError? {
        guard let error, case .notQcow2 = error.problem,
            let file = try? LocalStorage.open(path, access: .readOnly, lock: nil), file.length >= sectorLength
        else { return nil }
        let isMarked = await file.isMarkedUnfinished()
        let isBlank = await file.isBlank(upTo: sectorLength)
        guard isMarked || isBlank else { return nil }
        let what =
            isPartial(path) || isMarked
            ? "an unfinished backup: its header was not written"
            : "not a qcow2 image: its first sector is blank"
        return ServiceError(
            .corrupt, "\(path): \(what)",
            advice: "a backup that was interrupted leaves this: take the backup again")
    }

    /// Whether a raw disk's head is blank although something follows.
    static func hasBlankHead(_ file: any Storage) async -> Bool {
        if await file.isMarkedUnfinished() { return true }
        let length = min(headLength, file.length)
        guard length >= sectorLength, file.length > headLength, await file.isBlank(upTo: length) else { return false }
        // A disk that is all hole behind its head is empty, not interrupted.
        let rest = file.length - headLength
        guard let next = try? await file.blockStatus(at: headLength, length: rest, in: .topLayer) else { return false }
        return !(next.readsAsZero && next.length == rest)
    }
}

extension Storage {
    /// Whether it is a new target that was never finished.
    func isMarkedUnfinished() async -> Bool {
        let count = min(length, HeadLastDevice.sectorLength)
        guard count > 0, let start = try? await contents(at: 0, count: Int(count)) else { return false }
        return UnfinishedMark.isMark(start)
    }

    /// Whether the first `length` bytes can be read and are zero.
    func isBlank(upTo end: UInt64) async -> Bool {
        guard end <= length, let start = try? await contents(at: 0, count: Int(end)) else { return false }
        return start.span.bytes.isZero
    }
}

extension OpenedDisk.Layer {
    /// The image whose bitmaps a user names.
    ///
    /// - Throws: `ServiceError` with the code `usage` for a raw disk.
    func imageWithBitmaps() throws(ServiceError) -> Qcow2File {
        guard let image else {
            throw ServiceError(
                .usage, "\(path) is a raw disk: only qcow2 images have bitmaps", advice: "leave --bitmap out")
        }
        return image
    }
}
