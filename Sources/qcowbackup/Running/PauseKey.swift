// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc

/// The Enter key at a terminal: asks for a pause, or for its end.
enum PauseKey {
    /// How often to look whether the program is in the foreground, in milliseconds.
    private static let patience: Int32 = 500

    /// Listens until the process ends or the terminal is gone.
    ///
    /// Where the system has no thread left, the key does nothing; the signal does the same.
    ///
    /// - Parameter terminal: a descriptor of it. Lines are taken whole, so that the terminal's mode stays as it is.
    static func listen(on terminal: Int32, for inbox: SignalInbox) {
        try? SystemThread.start("pause-key") {
            var line = [UInt8](repeating: 0, count: 256)
            while true {
                var request = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
                guard poll(&request, 1, patience) > 0 else { continue }
                // In the background, reading would stop the program, and what is typed is for others.
                guard tcgetpgrp(terminal) == getpgrp() else {
                    poll(nil, 0, patience)
                    continue
                }
                let count = read(terminal, &line, line.count)
                if count > 0 {
                    inbox.askForPause()
                } else if count == 0 || errno != EINTR {
                    return
                }
            }
        }
    }
}
