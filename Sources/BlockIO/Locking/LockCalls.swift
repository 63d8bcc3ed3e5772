// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc
import SystemPackage

/// The system calls of `ImageLock`, so that tests can let them fail. Each gives back the error, or `nil`.
struct LockCalls: Sendable {
    /// Locks or unlocks a byte: descriptor, byte, `F_RDLCK` or `F_UNLCK`.
    var lock: @Sendable (Int32, Int64, Int16) -> Errno? = { descriptor, byte, type in
        clinux_lock_byte(descriptor, byte, type) == 0 ? nil : Errno(rawValue: errno)
    }

    /// Locks that belong to the process and not to the open file: for systems that have no others. They end as soon as the
    /// process closes the file anywhere, and two uses by one process don't notice each other.
    static let classic = LockCalls(
        lock: { descriptor, byte, type in
            clinux_lock_byte_classic(descriptor, byte, type) == 0 ? nil : Errno(rawValue: errno)
        },
        probe: { descriptor, byte, type in
            clinux_probe_byte_classic(descriptor, byte, &type) == 0 ? nil : Errno(rawValue: errno)
        })

    /// Sets the type to `F_UNLCK` where no one else has locked the byte.
    var probe: @Sendable (Int32, Int64, inout Int16) -> Errno? = { descriptor, byte, type in
        clinux_probe_byte(descriptor, byte, &type) == 0 ? nil : Errno(rawValue: errno)
    }
}
