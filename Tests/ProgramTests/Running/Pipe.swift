// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// A pipe whose writer is handed to the program as one of its streams. Its output fits into the pipe's buffer.
struct Pipe: Sendable {
    struct Failure: Error {}

    let reader: Int32
    let writer: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Failure() }
        (reader, writer) = (ends[0], ends[1])
    }

    /// Everything written; both ends are closed.
    func closeAndRead() -> String {
        close(writer)
        defer { close(reader) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(reader, &piece, piece.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += piece.prefix(count)
        }
    }
}
