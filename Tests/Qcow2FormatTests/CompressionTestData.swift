// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format
import Testing

/// What a test's cluster holds.
enum ClusterContent: Sendable, CaseIterable, CustomTestStringConvertible {
    case zeros
    case random
    case text
    /// Pieces of the others, of every length.
    case mixed
    /// Random bytes repeated at the largest distance that the zlib type allows.
    case repeatsAtWindow
    /// The same one byte farther apart.
    case repeatsBeyondWindow

    var testDescription: String { "\(self)" }

    func bytes(count: Int, seed: UInt64) -> [UInt8] {
        var numbers = SeededNumbers(seed: seed)
        switch self {
        case .zeros: return [UInt8](repeating: 0, count: count)
        case .random: return numbers.bytes(count)
        case .text: return Self.text(count: count, &numbers)
        case .repeatsAtWindow: return Self.repeated(numbers.bytes(4096), count: count)
        case .repeatsBeyondWindow: return Self.repeated(numbers.bytes(4097), count: count)
        case .mixed:
            var result: [UInt8] = []
            while result.count < count {
                let length = min(count - result.count, Int.random(in: 1...5000, using: &numbers))
                switch Int.random(in: 0..<4, using: &numbers) {
                case 0: result += [UInt8](repeating: UInt8.random(in: 0...255, using: &numbers), count: length)
                case 1: result += numbers.bytes(length)
                case 2: result += Self.text(count: length, &numbers)
                default:
                    let start = Int.random(in: 0...result.count, using: &numbers)
                    result += result[start...].prefix(length)
                }
            }
            return result
        }
    }

    private static func repeated(_ piece: [UInt8], count: Int) -> [UInt8] {
        (0..<count).map { piece[$0 % piece.count] }
    }

    private static func text(count: Int, _ numbers: inout SeededNumbers) -> [UInt8] {
        let words = ["cluster", "the", "offset", "of", "table", "entry", "refcount", "zero", "is", "backing", "0x10"]
        var result: [UInt8] = []
        while result.count < count {
            result += Array(words[Int.random(in: 0..<words.count, using: &numbers)].utf8)
            result.append(Int.random(in: 0..<9, using: &numbers) == 0 ? 10 : 32)
        }
        return Array(result.prefix(count))
    }
}

/// The same numbers in every run (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count + 8)
        while result.count < count {
            withUnsafeBytes(of: next()) { result += $0 }
        }
        return Array(result.prefix(count))
    }
}

extension ClusterCompressor {
    /// Compresses into a buffer of `room` bytes, by default a cluster's length, and checks that nothing behind it changes.
    mutating func compress(_ cluster: [UInt8], room: Int? = nil) -> [UInt8]? {
        let room = room ?? cluster.count
        var guarded = GuardedBuffer(count: room)
        let length = guarded.withBytes { output in compress(cluster.span.bytes, into: &output) }
        return length.map { Array(guarded.content.prefix($0)) }
    }
}

extension ClusterDecompressor {
    /// Decompresses into a cluster of its own, and checks that nothing behind the cluster changes.
    mutating func decompress(_ stored: [UInt8]) throws(CompressionError) -> [UInt8] {
        var guarded = GuardedBuffer(count: clusterLength)
        try guarded.withBytes { cluster throws(CompressionError) in
            try decompress(stored.span.bytes, into: &cluster)
        }
        return guarded.content
    }
}
