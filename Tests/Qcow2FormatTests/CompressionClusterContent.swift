// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
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
        var numbers = SeededRandom(seed: seed)
        switch self {
        case .zeros: return [UInt8](repeating: 0, count: count)
        case .random: return numbers.bytes(count: count)
        case .text: return Self.text(count: count, &numbers)
        case .repeatsAtWindow: return Self.repeated(numbers.bytes(count: 4096), count: count)
        case .repeatsBeyondWindow: return Self.repeated(numbers.bytes(count: 4097), count: count)
        case .mixed:
            var result: [UInt8] = []
            while result.count < count {
                let length = min(count - result.count, Int.random(in: 1...5000, using: &numbers))
                switch Int.random(in: 0..<4, using: &numbers) {
                case 0: result += [UInt8](repeating: UInt8.random(in: 0...255, using: &numbers), count: length)
                case 1: result += numbers.bytes(count: length)
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
        var bytes: [UInt8] = []
        while bytes.count < count { bytes += piece }
        return Array(bytes.prefix(count))
    }

    private static func text(count: Int, _ numbers: inout SeededRandom) -> [UInt8] {
        let words = ["cluster", "the", "offset", "of", "table", "entry", "refcount", "zero", "is", "backing", "0x10"]
        var result: [UInt8] = []
        while result.count < count {
            result += Array(words[Int.random(in: 0..<words.count, using: &numbers)].utf8)
            result.append(Int.random(in: 0..<9, using: &numbers) == 0 ? 10 : 32)
        }
        return Array(result.prefix(count))
    }
}
