// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO

/// A manifest in its file.
struct ManifestFile: Sendable {
    let path: String

    /// Most bytes that are read of one: that of a PiB full of data has half of it with SHA-256. It is read in pieces; the
    /// limit is for the time that it takes.
    private static let maximumLength: UInt64 = 64 << 30

    init(path: String) {
        self.path = path
    }

    /// The manifest that belongs to an image. One that has not got its name yet gets it.
    init(besides image: String) async throws(ServiceError) {
        try await self.init(of: image, named: nil)
    }

    /// The manifest of an image: by name, or beside it.
    init(of image: String, named name: String?) async throws(ServiceError) {
        let place = if let name { name } else { try ManifestPlace.path(besides: image) }
        path = await PendingManifest(image: image, path: place).settle()
    }

    /// Whether there is a file at all.
    var exists: Bool { (try? FileStatus(path: path)) != nil }

    /// Reads what the manifest says of its backup, without the digests and without a look at the seal: for lists.
    func header() async throws(ServiceError) -> ManifestHeader {
        let file = try open()
        let count = min(file.length, UInt64(Manifest.maximumHeadLength))
        let bytes = try await translated { () async throws(BlockError) in
            try await file.contents(at: 0, count: Int(count))
        }
        return try await checked { () async throws(ManifestError) in
            try Manifest.header(in: bytes, length: file.length).header
        }
    }

    /// Reads what the manifest says of its backup, once its seal is checked.
    func sealedHeader() async throws(ServiceError) -> ManifestHeader {
        let file = try open()
        try check(file)
        return try await checked { () async throws(ManifestError) in try await Manifest.sealedHeader(in: file) }
    }

    /// Reads all of it. The file stays open as long as the manifest is used.
    ///
    /// - Parameter virtualSize: length in bytes of the disk that it must be of; `nil` for any.
    func manifest(virtualSize: UInt64? = nil) async throws(ServiceError) -> Manifest {
        let file = try open()
        try check(file)
        let manifest = try await checked { () async throws(ManifestError) in try await Manifest(reading: file) }
        if let virtualSize, manifest.header.virtualSize != virtualSize {
            throw ServiceError(
                .inconsistent,
                "\(path) is of a disk of \(manifest.header.virtualSize) bytes, and the backup one of \(virtualSize) bytes",
                advice: "one of the two belongs to another backup")
        }
        return manifest
    }

    private func check(_ file: any Storage) throws(ServiceError) {
        guard file.length <= Self.maximumLength else {
            throw ServiceError(.corrupt, "\(path) is larger than any manifest", advice: nil)
        }
    }

    private func open() throws(ServiceError) -> any Storage {
        try translated { () throws(BlockError) in
            try LocalStorage.open(path, access: .readOnly, lock: nil)
        }
    }

    private func checked<Result>(
        _ body: () async throws(ManifestError) -> Result
    ) async throws(ServiceError) -> Result {
        do throws(ManifestError) {
            return try await body()
        } catch .unreadable(let error) {
            throw ServiceError(error)
        } catch {
            throw ServiceError(.corrupt, "the manifest \(path) can't be used: \(error)", advice: nil)
        }
    }
}
