// SPDX-License-Identifier: GPL-2.0-or-later

import CXXHash

/// The digest of some bytes. Which algorithm made it is known from elsewhere.
package struct Digest: Sendable, Hashable {
    /// Longest digest in bytes.
    static let maximumLength = 32

    // Inline, because there is one for each 64 KiB that is copied. What the algorithm doesn't fill is zero.
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    let length: Int

    /// The canonical form, most significant byte first, as xxhsum prints it.
    init(_ hash: cxxhash_digest) {
        words = (hash.high, hash.low, 0, 0)
        length = 16
    }

    /// - Parameter bytes: at most 32 of them, in the order in which they stand in a file.
    init(bytes: RawSpan) {
        precondition(bytes.byteCount <= Self.maximumLength)
        length = bytes.byteCount
        var padded: [UInt8] = bytes.withUnsafeBytes { Array($0) }
        padded += [UInt8](repeating: 0, count: Self.maximumLength - length)
        func word(_ index: Int) -> UInt64 {
            padded[8 * index..<8 * index + 8].reduce(0) { $0 << 8 | UInt64($1) }
        }
        words = (word(0), word(1), word(2), word(3))
    }

    /// Reads hexadecimal digits; `nil` for anything else, and for a length that no algorithm has.
    package init?(hexadecimal text: String) {
        let digits = text.utf8.map { byte -> UInt8? in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
            default: nil
            }
        }
        guard DigestAlgorithm.allCases.contains(where: { 2 * $0.length == digits.count }) else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(high << 4 | low)
        }
        self.init(bytes: bytes.span.bytes)
    }

    /// Adds the digest's bytes, in the order in which they stand in a file.
    func append(to data: inout [UInt8]) {
        for (index, word) in [words.0, words.1, words.2, words.3].enumerated() where 8 * index < length {
            for shift in stride(from: 56, through: 0, by: -8) {
                data.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
    }

    package static func == (one: Digest, other: Digest) -> Bool {
        one.words == other.words && one.length == other.length
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
    }
}

extension Digest: CustomStringConvertible {
    /// Hexadecimal digits, as `sha256sum` and `xxhsum` print them.
    package var description: String {
        var bytes: [UInt8] = []
        append(to: &bytes)
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
