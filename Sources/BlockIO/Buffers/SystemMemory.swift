// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc

/// The memory that the system lets this process have.
///
/// Where the runtime is refused memory, the process is gone at once, with all that it leaves behind. So whoever begins
/// something looks before.
package enum SystemMemory {
    /// Whether the process may take so much address space, in bytes, beside what it has.
    package static func hasRoom(for bytes: Int) -> Bool {
        let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED else { return false }
        munmap(memory, bytes)
        return true
    }

    /// Keeps the C library from setting room aside for each thread where address space is limited. Before the first thread.
    package static func saveAddressSpace() {
        var limit = rlimit()
        // Nothing but ones stands for no limit.
        guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur != .max else {
            return
        }
        clinux_share_heap()
    }
}
