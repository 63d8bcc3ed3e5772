// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc
import SystemPackage

/// A file descriptor that closes with its owner.
///
/// Closing reports nothing: whoever needs to know that data arrived flushes first.
struct OwnedDescriptor: ~Copyable, Sendable {
    let rawValue: Int32

    /// Opens a file.
    ///
    /// - Parameter flags: `open` flags; close-on-exec is added.
    /// - Parameter mode: permissions of a file that is created, before the umask.
    init(opening path: String, flags: Int32, mode: mode_t = 0o666) throws(BlockError) {
        while true {
            let result = Glibc.open(path, flags | clinux_O_CLOEXEC, mode)
            if result >= 0 {
                rawValue = result
                return
            }
            let error = Errno(rawValue: errno)
            if error != .interrupted {
                throw .system(SystemCallError(call: "open", errno: error, path: path))
            }
        }
    }

    deinit {
        _ = Glibc.close(rawValue)
    }
}
