// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Qcow2Format

/// Where a backup's manifest is, and what is there before the backup is made.
struct ManifestPlace: Sendable {
    let path: String
    /// An earlier backup's, which must not be taken for the new one's.
    private let stale: (any Storage)?
    /// An earlier backup's that is beside the target, where the new one goes elsewhere; `nil` for none.
    private let abandoned: FilePlace?

    /// The place that belongs to an image: beside the file itself, behind all symbolic links.
    static func path(besides image: String, suffix: String = Manifest.suffix) throws(ServiceError) -> String {
        let exists = (try? FileStatus(path: image)) != nil
        return (exists ? try ServicePath.resolved(image) : image) + suffix
    }

    /// - Returns: `nil` where there is none: a block device has no place beside it.
    init?(for request: BackupRequest) async throws(ServiceError) {
        let target = try? FileStatus(path: request.target)
        let beside = target?.kind == .blockDevice ? nil : try Self.path(besides: request.target)
        guard let path = request.manifest ?? beside else { return nil }
        if request.manifest != nil,
            let suffix = [FilePlace.partialSuffix, VerifyState.suffix].first(where: path.hasSuffix)
        {
            throw ServiceError(
                .usage, "--manifest: names that end with \(suffix) are those of other files",
                advice: "name another file")
        }
        guard ServicePath.absolute(path) != ServicePath.absolute(request.target) else {
            throw ServiceError(.usage, "--manifest names the target: \(path)", advice: "name another file")
        }
        self.path = path
        // The old backup may have to be proven once more, and what lies there of its own must not be taken for a leftover.
        if target != nil { _ = await PendingManifest(image: request.target, path: path).settle() }
        abandoned = try await Self.abandoned(beside, besides: path)
        let isWanted = request.digest != nil
        guard let present = try ServicePath.status(of: path) else {
            stale = nil
            return
        }
        guard present.kind == .regular, let file = try? LocalStorage.open(path, access: .readOnly, lock: nil),
            await Self.isManifest(file)
        else {
            guard isWanted else { return nil }
            throw ServiceError(
                .exists, "\(path) is in the way of the manifest, and is none",
                advice: "--manifest names another place, --digest=none makes none")
        }
        // Left behind where its backup was deleted, it is of no use; named by hand, it may be another backup's.
        if isWanted, request.existingTarget == .refuse, request.manifest != nil {
            throw ServiceError(.exists, "the manifest \(path) exists", advice: "--force replaces it")
        }
        stale = file
    }

    /// Refuses the manifest of a backup that this one is made from, or goes on.
    func check(against layers: [OpenedDisk.Layer], _ request: BackupRequest) throws(ServiceError) {
        guard request.manifest != nil, let present = try ServicePath.status(of: path) else { return }
        for layer in layers {
            guard let beside = try? Self.path(besides: layer.path),
                (try? FileStatus(path: beside))?.identity == present.identity
            else { continue }
            throw ServiceError(
                .usage, "--manifest: \(path) is the manifest of \(layer.path)", advice: "name another file")
        }
    }

    /// - Returns: the manifest beside the target, unless there is none or it is the one that is replaced anyway.
    private static func abandoned(_ beside: String?, besides path: String) async throws(ServiceError) -> FilePlace? {
        guard let beside, let present = try ServicePath.status(of: beside), present.kind == .regular,
            present.identity != (try ServicePath.status(of: path))?.identity,
            let file = try? LocalStorage.open(beside, access: .readOnly, lock: nil), await isManifest(file)
        else { return nil }
        return FilePlace(path: beside, content: .manifest, replaced: file)
    }

    /// Whether a file begins as manifests do.
    static func isManifest(_ file: any Storage) async -> Bool {
        let count = min(file.length, 64)
        guard let bytes = try? await file.contents(at: 0, count: Int(count)) else { return false }
        return Manifest.isManifest(bytes)
    }

    var filePlace: FilePlace { FilePlace(path: path, content: .manifest, replaced: stale) }

    /// Takes an earlier backup's manifests away, once something else has the name of that backup.
    ///
    /// - Parameter isReplaced: whether the place has the new one already.
    func clear(isReplaced: Bool) throws(ServiceError) {
        if stale != nil, !isReplaced { try filePlace.clearReplaced() }
        try abandoned?.clearReplaced()
    }
}
