// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import BlockIO
import Glibc

/// What the process asks of the system before it does anything else.
enum ProcessSetup {
    /// - Returns: why nothing can be done; `nil` where all is well.
    static func run() -> ServiceError? {
        // A reader that goes away, or a limit on file size, is an error of the write that meets it.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        guard occupyStandardDescriptors() else {
            return ServiceError(
                .io, "standard input, output and error are closed, and can't be replaced: no file can be opened",
                advice: "see ulimit -n")
        }
        allowOpenFiles()
        SystemMemory.saveAddressSpace()
        return nil
    }

    /// A chain is many open files, and the limit that shells start with is for programs that use `select`.
    private static func allowOpenFiles() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// Opens something in place of closed standard streams: otherwise the next file opened, perhaps the target, would
    /// become standard error and be written to.
    ///
    /// - Returns: whether none of them is closed now.
    private static func occupyStandardDescriptors() -> Bool {
        for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
            // The lowest free descriptor is this one. Reading only: what is written fails, as on a closed stream.
            guard open("/dev/null", O_RDONLY) == descriptor else { return false }
        }
        return true
    }

}
