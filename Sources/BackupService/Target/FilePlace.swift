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
    /// The file to replace, which has the name now. Open, and so locked, until the new one has its name: a program that
    /// took it into use meanwhile would go on writing to what is gone. `nil` where nothing may be replaced.
    var replaced: FileDevice?

    private var replaces: Bool { replaced != nil }

    /// What the name ends with under which a file is written.
    static let partialSuffix = ".partial"

    var partialPath: String { path + Self.partialSuffix }

    private var folder: String {
        let folder = FilePath(path).removingLastComponent().string
        return folder.isEmpty ? "." : folder
    }

    /// How often to try again where the file changes hands between two steps.
    private static let attempts = 10

    /// Opens and locks the file to write, and empties it.
    ///
    /// - Parameter readFiles: what must not be written to, whatever its name: the files that are read.
    func create(
        copyRange: CopyRangePolicy, readFiles: [FileIdentity] = []
    ) async throws(ServiceError) -> UnnamedFile {
        // Between opening and locking, the run that owned the file may have finished and renamed it.
        for _ in 0..<Self.attempts {
            try checkWay(readFiles)
            let file = try open(copyRange)
            guard let status = try status(of: partialPath), status.identity == file.identity else { continue }
            if status.linkCount > 1 {
                // Under its other name the file is someone else's.
                _ = unlink(partialPath)
                continue
            }
            let unnamed = UnnamedFile(place: self, device: file)
            // Another run may have got there first. Better seen now than once everything is copied.
            if !replaces, try self.status(of: path) != nil {
                unnamed.remove()
                throw ServiceError(.exists, "\(path) exists", advice: "another run has just made it")
            }
            do throws(BlockError) {
                try await file.resize(to: 0)
            } catch {
                unnamed.remove()
                throw ServiceError(error)
            }
            inherit(to: file)
            return unnamed
        }
        throw ServiceError(
            .system(SystemCallError(call: "open", errno: .resourceBusy, path: partialPath)))
    }

    /// Refuses to write over what is no file, and over what is read.
    private func checkWay(_ readFiles: [FileIdentity]) throws(ServiceError) {
        guard let status = try status(of: partialPath) else { return }
        let advice = "\(path) is written there at first: choose another target"
        if readFiles.contains(status.identity) {
            throw ServiceError(.usage, "\(partialPath) is part of the source or of the parent", advice: advice)
        }
        if status.kind != .regular {
            throw ServiceError(.exists, "\(partialPath) is in the way and not a regular file", advice: advice)
        }
    }

    private func open(_ copyRange: CopyRangePolicy) throws(ServiceError) -> FileDevice {
        do throws(BlockError) {
            // What replaces a file gets that file's permissions, and until then nobody else's.
            return try FileDevice(
                path: partialPath, access: .create, lock: .writable, copyRange: copyRange,
                permissions: replaces ? 0o600 : 0o666)
        } catch {
            if case .locked(let conflict) = error, conflict.isInUse {
                throw ServiceError(.locked, "another run is writing \(path): \(partialPath) is locked")
            }
            throw explained(error)
        }
    }

    private func explained(_ error: BlockError) -> ServiceError {
        let cause = ServiceError(error)
        return ServiceError(cause.code, cause.message, advice: advice(for: error.errno) ?? cause.advice)
    }

    /// What to do where the file can't be made.
    private func advice(for error: Errno) -> String? {
        switch error {
        case .noSuchFileOrDirectory: "make the folder \(folder) first, or choose another target"
        case .permissionDenied, .notPermitted, .readOnlyFileSystem:
            "\(path) is written there at first: the folder must be writable"
        case .fileNameTooLong: "\(path) is written there at first: choose a shorter name"
        default: nil
        }
    }

    /// Gives the new file the owner and the permissions of the one that it is to replace, as far as that is allowed.
    private func inherit(to file: FileDevice) {
        var old = stat()
        guard replaces, stat(path, &old) == 0 else { return }
        var mode = old.st_mode & 0o777
        if fchown(file.rawDescriptor, old.st_uid, old.st_gid) != 0,
            fchown(file.rawDescriptor, uid_t.max, old.st_gid) != 0
        {
            // What its group might do, another group shall not.
            mode &= ~0o070
        }
        _ = fchmod(file.rawDescriptor, mode)
    }

    private func status(of path: String) throws(ServiceError) -> FileStatus? {
        do throws(BlockError) {
            return try FileStatus(path: path, followsLink: false)
        } catch {
            throw explained(error)
        }
    }

    /// Refuses to replace what has got the name since the start. Who took the old file away wanted it gone.
    func checkReplaced() throws(ServiceError) {
        guard let replaced, let present = try status(of: path), present.identity != replaced.identity else { return }
        throw ServiceError(
            .exists, "\(path): everything is copied, but the name leads to another file by now: nothing is replaced",
            advice: "find out what put it there")
    }

    /// Gives the written file its name, durably. What it holds must be on stable storage.
    ///
    /// - Throws: `ServiceError`; nothing has the name then, unless a file was replaced: that can't be undone.
    func publish() throws(ServiceError) {
        // Opened first: where that fails, nothing has happened yet.
        let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | clinux_O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("opening the folder") }
        defer { close(descriptor) }
        try takeName()
        // Some file systems have nothing to sync in a folder.
        if fsync(descriptor) == 0 || errno == EINVAL { return }
        let error = failure("making the name durable")
        if !replaces { _ = unlink(path) }
        throw error
    }

    private func takeName() throws(ServiceError) {
        try checkReplaced()
        if replaces, try status(of: path) != nil {
            guard rename(partialPath, path) == 0 else { throw failure("rename") }
            return
        }
        if clinux_rename_noreplace(partialPath, path) == 0 { return }
        // Some file systems, and old kernels, can't refuse to replace.
        guard errno == EINVAL || errno == ENOSYS else { throw failure("rename") }
        var status = stat()
        guard lstat(path, &status) != 0 else {
            errno = EEXIST
            throw failure("rename")
        }
        guard rename(partialPath, path) == 0 else { throw failure("rename") }
    }

    /// Takes the name away from whatever has it, durably as far as that can be had.
    func clear() throws(ServiceError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("unlink") }
        let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | clinux_O_CLOEXEC)
        guard descriptor >= 0 else { return }
        _ = fsync(descriptor)
        close(descriptor)
    }

    /// What the last system call's error means.
    private func failure(_ step: String) -> ServiceError {
        let error = SystemCallError(call: step, errno: Errno(rawValue: errno), path: path)
        let cause = ServiceError(.system(error))
        return ServiceError(
            cause.code, "\(path): everything is copied, but \(step) failed: \(error.errno)", advice: cause.advice)
    }
}
