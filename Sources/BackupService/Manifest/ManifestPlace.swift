// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import Qcow2Format

/// Where a backup's manifest is, and what is there before the backup is made.
struct ManifestPlace: Sendable {
    let path: String
    /// An earlier backup's, which must not be taken for the new one's.
    private let stale: FileDevice?

    /// The place that belongs to an image: beside the file itself, behind all symbolic links.
    static func path(besides image: String, suffix: String = Manifest.suffix) throws(ServiceError) -> String {
        let exists = (try? FileStatus(path: image)) != nil
        return (exists ? try ServicePath.resolved(image) : image) + suffix
    }

    /// - Returns: `nil` where there is none: a block device has no place beside it.
    init?(for request: BackupRequest) async throws(ServiceError) {
        if let path = request.manifest {
            self.path = path
        } else {
            let target = try? FileStatus(path: request.target)
            guard target?.kind != .blockDevice else { return nil }
            path = try Self.path(besides: request.target)
        }
        let isWanted = request.digest != nil
        guard let present = try Self.status(of: path) else {
            stale = nil
            return
        }
        guard present.kind == .regular, let file = try? FileDevice(path: path, access: .readOnly, lock: nil),
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

    private static func status(of path: String) throws(ServiceError) -> FileStatus? {
        do throws(BlockError) {
            return try FileStatus(path: path)
        } catch {
            throw ServiceError(error)
        }
    }

    private static func isManifest(_ file: FileDevice) async -> Bool {
        let count = min(file.length, 64)
        guard let bytes = try? await file.contents(at: 0, count: Int(count)) else { return false }
        return Manifest.isManifest(bytes)
    }

    var filePlace: FilePlace { FilePlace(path: path, replaced: stale) }

    /// Takes an earlier backup's manifest away, before something without one gets the name of that backup.
    func clear() throws(ServiceError) {
        if stale != nil { try FilePlace(path: path).clear() }
    }
}
