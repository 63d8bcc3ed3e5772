// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import Qcow2Format
import TestSupport

/// Images that are damaged in places that matter: header, L1, L2, refcount table and blocks, snapshots; or cut off.
package enum ImageDamage {
    private static let extremes: [UInt64] = [
        0, 1, 2, 511, 512, 0x7fff_ffff, 0xffff_ffff, 1 << 56, 1 << 62, 1 << 63, (1 << 63) - 512, .max,
        0x8000_0000_0000_0200, 0x8000_0000_0000_0000, 0x00ff_ffff_ffff_fe00,
    ]

    /// A small image of a kind, with data, holes, zeroes and compressed clusters, closed.
    package static func image(_ kind: ImageCase, steps: Int = 8) async throws -> ImageModel {
        let model = try await ImageModel(kind)
        let cluster = UInt64(1) << UInt64(kind.clusterBits)
        let clusters = kind.size / cluster
        try await model.write(cluster / 2..<min(20, clusters) * cluster)
        if kind.dataFile == .none, clusters > 100 { try await model.compress(cluster * 90..<cluster * 95) }
        for _ in 0..<steps { try await model.step() }
        try await model.close()
        return model
    }

    /// Changes a few places.
    package static func apply(to bytes: inout [UInt8], _ random: inout SeededRandom) {
        for _ in 0..<random.pick([1, 1, 2, 3]) { applyOnce(to: &bytes, &random) }
    }

    private static func applyOnce(to bytes: inout [UInt8], _ random: inout SeededRandom) {
        guard bytes.count > 112 else { return }
        let cluster = 1 << Int(min(max(bytes[23], 9), 21))
        let word = { (bytes: [UInt8], offset: Int) -> Int in
            let value: UInt64 = (try? bytes.span.bytes.bigEndian(at: offset)) ?? 0
            return Int(value & 0x00ff_ffff_ffff_fe00) % bytes.count
        }
        let l1 = word(bytes, 40)
        let table = word(bytes, 48)
        let start: Int
        switch Int.random(in: 0..<12, using: &random) {
        case 0: start = Int.random(in: 0..<28, using: &random) * 4
        case 1: start = Int.random(in: 104..<min(cluster, 600), using: &random)
        case 2, 3: start = l1 + Int.random(in: 0..<6, using: &random) * 8
        case 4, 5, 6:
            let l2 = word(bytes, l1 + 8 * Int.random(in: 0..<3, using: &random))
            start = l2 + Int.random(in: 0..<min(cluster, 1024) / 8, using: &random) * 8
        case 7: start = table + Int.random(in: 0..<4, using: &random) * 8
        case 8: start = word(bytes, table) + Int.random(in: 0..<64, using: &random)
        case 9: start = word(bytes, 64) + Int.random(in: 0..<60, using: &random)
        case 10:
            if Int.random(in: 0..<3, using: &random) == 0 {
                bytes.removeLast(bytes.count - Int.random(in: 512...bytes.count, using: &random))
            }
            return
        default: start = Int.random(in: 0..<bytes.count, using: &random)
        }
        guard start + 8 <= bytes.count else { return }
        let clusters = UInt64(bytes.count / cluster)
        let place = UInt64.random(in: 0...clusters + 2, using: &random) * UInt64(cluster)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[start + Int.random(in: 0..<8, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.storeBigEndian(random.pick(extremes), at: start)
        case 2: bytes.storeBigEndian(place | random.pick([0, 1 << 63, 1 << 63]), at: start)
        default: bytes.storeBigEndian(UInt32(truncatingIfNeeded: random.pick(extremes)), at: start)
        }
    }

    /// What can be read of an image, cluster by cluster; `nil` for what can't.
    package static func readable(
        _ bytes: SparseBytes, dataFile: (any Storage)? = nil, backing: (any BlockDevice)? = nil,
        step: UInt64 = 4096
    ) async -> [[UInt8]?] {
        let device = MemoryDevice(name: "image.qcow2", length: 0)
        device.restore(bytes)
        do throws(BlockError) {
            let file = try await Qcow2File(device)
            let image = try await file.open(
                dataFile: file.references.hasExternalDataFile ? dataFile : nil,
                backing: file.references.backingFileName == nil ? nil : backing)
            var pieces: [[UInt8]?] = []
            // A damaged size may be anything.
            for start in stride(from: 0, to: min(image.length, 1 << 20), by: Int(step)) {
                pieces.append(try? await image.bytes(at: start, count: Int(min(step, image.length - start))))
            }
            return pieces
        } catch {
            return []
        }
    }

    /// The first piece that could be read and now can't, or reads otherwise.
    package static func firstLoss(from before: [[UInt8]?], to after: [[UInt8]?]) -> Int? {
        before.indices.first { index in
            guard let piece = before[index] else { return false }
            guard index < after.count, let now = after[index] else { return true }
            return !haveSameBytes(piece, now)
        }
    }
}
