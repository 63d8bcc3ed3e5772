// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FoundationEssentials
import Glibc
import SystemPackage

/// The regular files of a folder itself. Symbolic links, which would lead elsewhere or show a file twice, and folders in
/// the folder are passed over.
struct FolderListing {
    /// By name.
    private(set) var entries: [FolderEntry] = []
    /// Names that are no UTF-8 text, with signs in place of what can't be shown.
    private(set) var illegibleNames: [String] = []
    /// Files of which not even the status can be had.
    private(set) var strays: [FolderStray] = []

    /// Most names that are read; a folder with more of them is not one of backups.
    static let maximumCount = 100_000

    /// - Throws: `ServiceError` where the folder can't be read, or has too many names.
    init(path: String) throws(ServiceError) {
        guard let stream = opendir(path) else { throw Self.failure("opendir", path) }
        defer { closedir(stream) }
        let folder = FilePath(path)
        for count in 0... {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw Self.failure("readdir", path) }
                break
            }
            guard count < Self.maximumCount else {
                throw ServiceError(
                    .unsupported, "\(path) has more than \(Self.maximumCount) names",
                    advice: "it is no folder of backups")
            }
            guard let name = name(of: entry) else { continue }
            add(name, folder.appending(name).string)
        }
        entries.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    /// Whether a file has gone since, or another one has got its name.
    var isOutdated: Bool {
        entries.contains { (try? FileStatus(path: $0.path, followsLink: false))?.identity != $0.identity }
    }

    /// - Returns: `nil` for a name that is no text; it is noted.
    private mutating func name(of entry: UnsafeMutablePointer<dirent>) -> String? {
        // Not through a copy of the structure: an entry may be shorter than that.
        guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return nil }
        let bytes = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
        if let name = String(validatingCString: bytes) { return name }
        illegibleNames.append(String(cString: bytes))
        return nil
    }

    private mutating func add(_ name: String, _ path: String) {
        do throws(BlockError) {
            // What has gone since is not there.
            guard let status = try FileStatus(path: path, followsLink: false), status.kind == .regular else { return }
            var facts = stat()
            guard lstat(path, &facts) == 0 else { return }
            let modified = Double(facts.st_mtim.tv_sec) + Double(facts.st_mtim.tv_nsec) / 1e9
            entries.append(
                FolderEntry(
                    name: name, path: path, identity: status.identity, length: UInt64(clamping: facts.st_size),
                    modified: Date(timeIntervalSince1970: modified)))
        } catch {
            strays.append(
                FolderStray(name: name, kind: .unreadable, length: 0, message: ServiceError(error).message))
        }
    }

    private static func failure(_ call: String, _ path: String) -> ServiceError {
        ServiceError(.system(SystemCallError(call: call, errno: Errno(rawValue: errno), path: path)))
    }
}

/// A file in a folder of backups that is none, and that a run of this program has left.
package struct FolderStray: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        /// A target that was not finished.
        case unfinished
        /// A target that is being written now.
        case running
        /// A manifest whose backup is gone, or has another name.
        case manifest
        /// What `verify` knew of a backup that is gone.
        case verified
        /// A file that can't be opened, so that nobody knows what it is.
        case unreadable
    }

    /// Without its folder.
    package let name: String
    package let kind: Kind
    /// In bytes.
    package let length: UInt64
    /// One line: what it is, and why it is here.
    package let message: String
}
