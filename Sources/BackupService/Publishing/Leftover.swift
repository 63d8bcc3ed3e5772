// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import Glibc
import Qcow2Format
import SystemPackage

/// What has the name already under which a file is to be written.
///
/// An earlier run's unfinished file is removed. It never becomes the new one, since whoever made it could decide who may
/// read the new one. Everything else stays.
struct Leftover {
    let place: FilePlace
    /// The files that are read.
    let readFiles: [StorageIdentity]

    /// Takes the name away from what an earlier run left.
    ///
    /// - Returns: the file without its name, locked; `nil` where there was none.
    /// - Throws: `ServiceError` where it is something else, or another run's.
    func makeWay() async throws(ServiceError) -> (any Storage)? {
        guard let status = try place.status(of: place.partialPath) else { return nil }
        guard !readFiles.contains(status.identity) else {
            throw ServiceError(
                .usage, "\(place.partialPath) is part of the source or of the parent",
                advice: "\(place.path) is written there at first: choose another target")
        }
        guard status.kind == .regular else { throw refusal("not a regular file") }
        // Its run may have finished and renamed it before it could be locked here.
        guard let file = try open(), try place.status(of: place.partialPath)?.identity == file.identity else {
            return nil
        }
        guard file.identity == status.identity else { return nil }
        guard status.owner == geteuid() else { throw refusal("owned by another user") }
        guard await isUnfinished(file) else { throw refusal("not what an interrupted run leaves") }
        if let error = NameCalls.current.unlink(place.partialPath), error != .noSuchFileOrDirectory {
            throw place.explained(
                .system(SystemCallError(call: "unlink", errno: error, path: place.partialPath)))
        }
        return file
    }

    private func open() throws(ServiceError) -> (any Storage)? {
        do throws(BlockError) {
            return try LocalStorage.open(place.partialPath, access: .readOnly, lock: .writable)
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            if case .locked(let conflict) = error, conflict.isInUse { throw place.isBeingWritten }
            throw ServiceError(error).advising(advice)
        }
    }

    private func isUnfinished(_ file: any Storage) async -> Bool {
        let length = min(file.length, HeadLastDevice.sectorLength)
        guard let start = try? await file.contents(at: 0, count: Int(length)) else { return false }
        if UnfinishedMark.isMark(start) { return true }
        // Made, and ended before the mark was written: there is nothing to lose.
        if file.length <= HeadLastDevice.sectorLength, start.allSatisfy({ $0 == 0 }) { return true }
        switch place.content {
        case .manifest:
            return Manifest.isManifest(start)
        case .verifyState:
            return VerifyState.isState(start)
        case .disk:
            // A backup that was whole when its run was killed, before it could replace what is still there. Then the manifest
            // that it was to get is there, too, finished or not; else somebody has named a good backup so.
            guard place.replaces, let image = try? await Qcow2File(file, forInspection: true),
                let id = image.identity?.id
            else { return false }
            return await hasPendingManifest(of: id)
        }
    }

    /// Whether a run has left the manifest that it was making beside the file.
    private func hasPendingManifest(of id: BackupID) async -> Bool {
        let path = place.path + Manifest.suffix + FilePlace.partialSuffix
        guard let status = try? FileStatus(path: path, followsLink: false), status.kind == .regular,
            status.owner == geteuid(), let manifest = try? LocalStorage.open(path, access: .readOnly, lock: nil),
            let start = try? await manifest.contents(
                at: 0, count: Int(min(manifest.length, HeadLastDevice.sectorLength)))
        else { return false }
        if UnfinishedMark.isMark(start) { return true }
        return (try? await ManifestFile(path: path).header())?.id == id.description
    }

    private func refusal(_ reason: String) -> ServiceError {
        ServiceError(.exists, "\(place.partialPath) is in the way and \(reason)", advice: advice)
    }

    private var advice: String {
        "\(place.path) is written there at first: move it away, or choose another target"
    }
}
