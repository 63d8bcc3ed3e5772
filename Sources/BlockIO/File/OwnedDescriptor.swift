// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc
import Synchronization
import SystemPackage

/// A file descriptor that closes with its owner.
///
/// Closing then reports nothing: whoever needs to know that data arrived flushes first, and calls `close()`.
struct OwnedDescriptor: ~Copyable, Sendable {
    /// -1 once it is closed, so that a call that comes too late fails and reaches no other file.
    private let value: Atomic<Int32>

    var rawValue: Int32 { value.load(ordering: .relaxed) }

    /// Opens a file.
    ///
    /// - Parameter flags: `open` flags; close-on-exec is added.
    /// - Parameter mode: permissions of a file that is created, before the umask.
    init(opening path: String, flags: Int32, mode: mode_t = 0o666) throws(BlockError) {
        while true {
            let result = Glibc.open(path, flags | clinux_O_CLOEXEC, mode)
            if result >= 0 {
                value = Atomic(result)
                return
            }
            let error = Errno(rawValue: errno)
            if error != .interrupted {
                throw .system(SystemCallError(call: "open", errno: error, path: path))
            }
        }
    }

    /// Closes it, where that has not been done. Nothing may use it meanwhile.
    ///
    /// - Returns: the error; the descriptor is closed all the same.
    func close() -> Errno? {
        let open = value.exchange(-1, ordering: .relaxed)
        guard open >= 0, Glibc.close(open) != 0 else { return nil }
        return Errno(rawValue: errno)
    }

    deinit {
        let open = value.load(ordering: .relaxed)
        if open >= 0 { _ = Glibc.close(open) }
    }
}
