// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO

/// A manifest in its file.
struct ManifestFile: Sendable {
    let path: String

    /// Most bytes that are read of one: that of 64 TiB full of data has a third of it, or two thirds with SHA-256.
    private static let maximumLength: UInt64 = 3 << 30

    init(path: String) {
        self.path = path
    }

    /// The manifest that belongs to an image.
    init(besides image: String) throws(ServiceError) {
        path = try ManifestPlace.path(besides: image)
    }

    /// The manifest of an image: by name, or beside it.
    init(of image: String, named name: String?) throws(ServiceError) {
        if let name { self.init(path: name) } else { try self.init(besides: image) }
    }

    /// Whether there is a file at all.
    var exists: Bool { (try? FileStatus(path: path)) != nil }

    /// Reads what the manifest says of its backup, without the digests and without a look at the seal.
    func header() async throws(ServiceError) -> ManifestHeader {
        let file = try open()
        let count = min(file.length, UInt64(Manifest.maximumHeadLength))
        let bytes = try await read(Int(count), of: file)
        return try checked { () throws(ManifestError) in try Manifest.header(in: bytes, length: file.length).header }
    }

    /// Reads all of it.
    ///
    /// - Parameter virtualSize: length in bytes of the disk that it must be of; `nil` for any.
    func manifest(virtualSize: UInt64? = nil) async throws(ServiceError) -> Manifest {
        let header = try await header()
        if let virtualSize, header.virtualSize != virtualSize {
            throw ServiceError(
                .inconsistent,
                "\(path) is of a disk of \(header.virtualSize) bytes, and the backup one of \(virtualSize) bytes",
                advice: "one of the two belongs to another backup")
        }
        let file = try open()
        guard file.length <= Self.maximumLength else {
            throw ServiceError(.corrupt, "\(path) is larger than any manifest", advice: nil)
        }
        let bytes = try await read(Int(file.length), of: file)
        let manifest = try checked { () throws(ManifestError) in try Manifest(decoding: bytes) }
        guard manifest.header == header else {
            throw ServiceError(.corrupt, "\(path) changes while it is read", advice: nil)
        }
        return manifest
    }

    private func open() throws(ServiceError) -> FileDevice {
        do throws(BlockError) {
            return try FileDevice(path: path, access: .readOnly, lock: nil)
        } catch {
            throw ServiceError(error)
        }
    }

    private func read(_ count: Int, of file: FileDevice) async throws(ServiceError) -> [UInt8] {
        do throws(BlockError) {
            return try await file.contents(at: 0, count: count)
        } catch {
            throw ServiceError(error)
        }
    }

    private func checked<Result>(_ body: () throws(ManifestError) -> Result) throws(ServiceError) -> Result {
        do throws(ManifestError) {
            return try body()
        } catch {
            throw ServiceError(.corrupt, "the manifest \(path) can't be used: \(error)", advice: nil)
        }
    }
}
