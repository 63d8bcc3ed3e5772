// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// A random number that names one backup: two files have the same only if one is a copy of the other.
package struct BackupID: Sendable, Hashable {
    /// Bytes that it takes in a file.
    static let encodedLength = 16

    private let high: UInt64
    private let low: UInt64

    /// A new one.
    package init() {
        high = .random(in: 1...(.max))
        low = .random(in: 0...(.max))
    }

    /// - Returns: `nil` for the number that stands for none.
    init?(decoding bytes: RawSpan, at offset: Int) throws(OutOfBoundsField) {
        high = try bytes.bigEndian(at: offset)
        low = try bytes.bigEndian(at: offset + 8)
        if high == 0, low == 0 { return nil }
    }

    static func append(_ id: BackupID?, to data: inout [UInt8]) {
        data.appendBigEndian(id?.high ?? 0)
        data.appendBigEndian(id?.low ?? 0)
    }
}

extension BackupID: CustomStringConvertible {
    /// 32 hexadecimal digits.
    package var description: String {
        [high, low].map { number in
            let digits = String(number, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
