// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Standard output and standard error, written without buffering.
///
/// A stream that was closed, or whose reader went away, loses what is written to it and disturbs nothing else.
struct Console {
    var input: Int32 = 0
    var output: Int32 = 1
    var errors: Int32 = 2

    /// What a terminal is taken for that doesn't tell.
    static let defaultColumns = 80

    /// Whether `errors`, where progress goes, is a terminal.
    var isTerminal: Bool {
        isatty(errors) == 1
    }

    /// Whether someone who sees `errors` can type.
    var canBeAsked: Bool {
        isTerminal && isatty(input) == 1
    }

    /// Width of the terminal at `errors`.
    var columns: Int {
        var size = winsize()
        guard ioctl(errors, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return Self.defaultColumns }
        return Int(size.ws_col)
    }

    /// Writes to standard output. Waits for a slow reader.
    ///
    /// - Returns: whether everything was written.
    @discardableResult
    func writeOutput(_ text: String) -> Bool {
        write(text, to: output, waits: true)
    }

    /// Writes to standard error. Waits for a slow reader.
    @discardableResult
    func writeError(_ text: String) -> Bool {
        write(text, to: errors, waits: true)
    }

    /// Writes to standard error if that takes it at once.
    ///
    /// - Returns: whether everything was written.
    func offerError(_ text: String) -> Bool {
        isReady(errors) && write(text, to: errors, waits: false)
    }

    /// What a pipe that is ready takes without making the writer wait (PIPE_BUF).
    private static let pieceLength = 4096

    private func write(_ text: String, to descriptor: Int32, waits: Bool) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)[...]
            while !rest.isEmpty {
                if waits { waitUntilReady(descriptor) }
                let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.pieceLength))
                let count = Glibc.write(descriptor, piece.baseAddress, piece.count)
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if count == 0 || (errno != EINTR && !(errno == EAGAIN && waits)) {
                    return false
                }
            }
            return true
        }
    }

    /// Whether `descriptor` takes bytes, or has an error to tell, now.
    private func isReady(_ descriptor: Int32) -> Bool {
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&request, 1, 0) > 0
    }

    /// Waits until `descriptor` takes bytes or has an error to tell. While it waits, and only then, the stop signals that
    /// this thread blocks have their usual effect: a reader that stands still can't make the process immortal.
    private func waitUntilReady(_ descriptor: Int32) {
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        while poll(&request, 1, Self.patience) <= 0 {
            var before = sigset_t()
            var stopSignals = SignalInbox.set(SignalInbox.allStopSignals)
            // Those that arrived meanwhile act here.
            pthread_sigmask(SIG_UNBLOCK, &stopSignals, &before)
            pthread_sigmask(SIG_SETMASK, &before, nil)
        }
    }

    /// How long to wait for a reader before looking at signals, in milliseconds.
    private static let patience: Int32 = 100
}
