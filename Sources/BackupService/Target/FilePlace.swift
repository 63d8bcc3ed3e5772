// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import CLinux
import Glibc
import SystemPackage

/// Where a new file is to appear, whole or not at all.
///
/// It is written under another name in the same folder and gets its own name at the end. The other name is fixed, so a
/// run finds what an earlier one left when it was killed, and writes over it.
struct FilePlace: Sendable {
    let path: String
    /// Whether a file that has the name may be replaced.
    let replaces: Bool

    var partialPath: String { path + ".partial" }

    private var folder: String {
        FilePath(path).removingLastComponent().string.isEmpty ? "." : FilePath(path).removingLastComponent().string
    }

    /// Opens and locks the file to write, and empties it.
    func create(copyRange: CopyRangePolicy) async throws(ServiceError) -> FileDevice {
        do throws(BlockError) {
            // Between opening and locking, the run that owned the file may have finished and renamed it.
            for _ in 0..<10 {
                let file = try FileDevice(path: partialPath, access: .create, lock: .writable, copyRange: copyRange)
                guard try FileStatus(path: partialPath)?.identity == file.identity else { continue }
                try await file.resize(to: 0)
                return file
            }
            throw .system(SystemCallError(call: "open", errno: .resourceBusy, path: partialPath))
        } catch {
            if case .locked(let conflict) = error, conflict.isInUse {
                throw ServiceError(.locked, "another run is writing \(path): \(partialPath) is locked")
            }
            throw ServiceError(error)
        }
    }

    /// Gives the file its name, durably. What it holds must be on stable storage.
    func publish() throws(ServiceError) {
        let result = replaces ? rename(partialPath, path) : clinux_rename_noreplace(partialPath, path)
        if result != 0 {
            let error = Errno(rawValue: errno)
            // Some file systems can't refuse to replace.
            guard error == .invalidArgument, !replaces, access(path, F_OK) != 0, rename(partialPath, path) == 0 else {
                throw ServiceError(
                    error == .fileExists ? .exists : .io,
                    "\(path): the finished backup could not get its name: \(error)",
                    advice: "it is complete, as \(partialPath)")
            }
        }
        try syncFolder()
    }

    /// Removes what was written.
    func remove() {
        _ = unlink(partialPath)
    }

    private func syncFolder() throws(ServiceError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | clinux_O_CLOEXEC)
        guard descriptor >= 0 else {
            throw ServiceError(
                .io, "\(folder): the folder can't be opened to make \(path) durable: \(Errno(rawValue: errno))")
        }
        defer { close(descriptor) }
        // Some file systems have nothing to sync in a folder.
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw ServiceError(.io, "\(folder): the name \(path) could not be made durable: \(Errno(rawValue: errno))")
        }
    }
}
