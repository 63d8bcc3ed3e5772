// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// A pipe whose writer is handed to the program as one of its streams. What is written fits into its buffer.
struct Pipe: Sendable {
    struct Failure: Error {}

    let reader: Int32
    let writer: Int32

    /// - Parameter capacity: bytes of the buffer, up to 1 MiB; `nil` for the usual 64 KiB.
    init(capacity: Int32? = nil) throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Failure() }
        (reader, writer) = (ends[0], ends[1])
        if let capacity {
            guard fcntl(writer, Self.setPipeSize, capacity) >= capacity else { throw Failure() }
        }
    }

    /// F_SETPIPE_SZ, which the Glibc module lacks.
    private static let setPipeSize: Int32 = 1031

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
