// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage

/// What a path leads to, without opening it.
public struct FileStatus: Sendable {
    public let identity: FileIdentity
    public let kind: FileKind

    /// Follows symbolic links; `nil` where the path leads nowhere.
    ///
    /// - Throws: `BlockError.system` where that can't be found out.
    public init?(path: String) throws(BlockError) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            let error = Errno.current
            if error == .noSuchFileOrDirectory { return nil }
            throw .system(SystemCallError(call: "stat", errno: error, path: path))
        }
        identity = FileIdentity(status)
        kind = FileKind(mode: status.st_mode)
    }
}
