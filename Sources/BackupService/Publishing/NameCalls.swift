// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import CLinux
import Glibc
import SystemPackage

/// The system calls by which files get their names, so that tests can let them fail, or end at one of them. Each gives
/// back the error, or `nil`.
struct NameCalls: Sendable {
    @TaskLocal static var current = NameCalls()

    struct Failure: Error {
        let call: String
        let errno: Errno
    }

    var rename: @Sendable (_ from: String, _ to: String) -> Errno? = { from, to in
        Glibc.rename(from, to) == 0 ? nil : Errno(rawValue: Glibc.errno)
    }

    /// Fails with `EEXIST` where the new name exists.
    var renameToNew: @Sendable (_ from: String, _ to: String) -> Errno? = { from, to in
        if clinux_rename_noreplace(from, to) == 0 { return nil }
        let error = Errno(rawValue: Glibc.errno)
        // Some file systems, and old kernels, can't refuse to replace.
        guard error == .invalidArgument || error == .noFunction else { return error }
        var status = stat()
        if lstat(to, &status) == 0 { return .fileExists }
        return Glibc.rename(from, to) == 0 ? nil : Errno(rawValue: Glibc.errno)
    }

    var unlink: @Sendable (String) -> Errno? = { path in
        Glibc.unlink(path) == 0 ? nil : Errno(rawValue: Glibc.errno)
    }

    /// Makes the names in a folder durable.
    var syncFolder: @Sendable (String) -> Failure? = { path in
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | clinux_O_CLOEXEC)
        guard descriptor >= 0 else { return Failure(call: "open", errno: Errno(rawValue: Glibc.errno)) }
        defer { Glibc.close(descriptor) }
        if fsync(descriptor) == 0 { return nil }
        let error = Errno(rawValue: Glibc.errno)
        // Some file systems have nothing to sync in a folder. What they keep of its names is synced with all the rest.
        guard [.invalidArgument, .noFunction, .notSupported, .badFileDescriptor].contains(error) else {
            return Failure(call: "fsync", errno: error)
        }
        if clinux_sync_filesystem(descriptor) == 0 { return nil }
        return Failure(call: "syncfs", errno: Errno(rawValue: Glibc.errno))
    }

    /// Closes what was written.
    var close: @Sendable (any Storage) -> BlockError? = { file in
        do throws(BlockError) {
            try file.close()
            return nil
        } catch {
            return error
        }
    }
}
