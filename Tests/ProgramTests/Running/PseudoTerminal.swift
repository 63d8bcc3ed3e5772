// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc

/// A terminal of a given width, and what was written to it.
final class PseudoTerminal: Sendable {
    struct Failure: Error {
        let call: String
        let errno: Int32
    }

    // Requests that Glibc's module doesn't import: TIOCSPTLCK, TIOCGPTN.
    private static let setLock: UInt = 0x4004_5431
    private static let getNumber: UInt = 0x8004_5430

    /// The program's side.
    let descriptor: Int32
    private let master: Int32
    private let written = Locked("")
    /// Everything written so far, again after each piece.
    let updates: AsyncStream<String>

    init(columns: UInt16) throws {
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
        var isLocked: Int32 = 0
        var number: UInt32 = 0
        guard master >= 0, ioctl(master, Self.setLock, &isLocked) == 0, ioctl(master, Self.getNumber, &number) == 0
        else {
            throw Failure(call: "/dev/ptmx", errno: errno)
        }
        descriptor = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
        guard descriptor >= 0 else { throw Failure(call: "open", errno: errno) }
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        guard ioctl(descriptor, UInt(TIOCSWINSZ), &size) == 0 else { throw Failure(call: "ioctl", errno: errno) }

        let (updates, continuation) = AsyncStream.makeStream(of: String.self)
        self.updates = updates
        Task.detached { [master, written] in
            await onThread {
                var piece = [UInt8](repeating: 0, count: 4096)
                while true {
                    // Fails with EIO once the program's side is closed and everything is read.
                    let count = read(master, &piece, piece.count)
                    guard count > 0 else { break }
                    let text = String(decoding: piece.prefix(count), as: UTF8.self)
                    continuation.yield(
                        written.withLock { all in
                            all += text
                            return all
                        })
                }
                continuation.finish()
                close(master)
            }
        }
    }

    /// Waits until the text so far satisfies `condition`.
    func wait(until condition: (String) -> Bool) async {
        for await text in updates where condition(text) { return }
    }

    /// Everything that was written; the program's side is closed.
    func finish() async -> String {
        close(descriptor)
        for await _ in updates {}
        return written.withLock { $0 }
    }

    /// The lines that a screen shows after `text`: a carriage return goes back to the line's start, and what follows
    /// overwrites.
    static func screen(after text: String) -> [String] {
        var lines: [[Character]] = [[]]
        var column = 0
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\r": column = 0
            case "\n": lines.append([])
            default:
                let last = lines.count - 1
                if column < lines[last].count {
                    lines[last][column] = Character(scalar)
                } else {
                    lines[last].append(Character(scalar))
                }
                column += 1
            }
        }
        return lines.map { line in
            String(line.reversed().drop { $0 == " " }.reversed())
        }
    }
}
