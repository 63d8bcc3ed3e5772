// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// What the process asks of the system before it does anything else.
enum ProcessSetup {
    static func run() {
        // A reader that goes away, or a limit on file size, is an error of the write that meets it.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        occupyStandardDescriptors()
        allowOpenFiles()
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
    private static func occupyStandardDescriptors() {
        for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
            // The lowest free descriptor is this one. Reading only: what is written fails, as on a closed stream.
            _ = open("/dev/null", O_RDONLY)
        }
    }
}
