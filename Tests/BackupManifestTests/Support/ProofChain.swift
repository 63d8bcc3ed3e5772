// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import TestSupport

/// A backup and what it is based on, in memory, with the digests of each.
struct ProofChain {
    struct Layer {
        let device: MemoryDevice
        /// What the disk shows with this layer on top, and which units the layer holds.
        let model: ContentModel
        let digests: ContentDigests
    }

    /// Top first.
    let layers: [Layer]

    var disk: MemoryDevice { layers[0].device }
    var content: [UInt8] { layers[0].model.bytes }
    var proofs: [LayerProof] { layers.map { LayerProof($0.device, digests: $0.digests) } }
    var verifying: VerifyingDevice { VerifyingDevice(disk, layers: proofs) }

    /// - Parameters:
    ///   - lengths: of the disks, base first.
    ///   - share: how many in ten units an increment holds.
    init(lengths: [Int], share: Int = 4, _ random: inout SeededRandom) async throws {
        var layers: [Layer] = []
        for (index, length) in lengths.enumerated() {
            let below = layers.last
            let device = MemoryDevice(name: "layer \(index)", length: UInt64(length), backing: below?.device)
            var model = ContentModel(length: length)
            let common = min(length, below?.model.bytes.count ?? 0)
            model.bytes.replaceSubrange(0..<common, with: below?.model.bytes.prefix(common) ?? [])
            for unit in 0..<model.unitCount where index == 0 || Int.random(in: 0..<10, using: &random) < share {
                let range = model.bytes(ofUnit: unit)
                model.held.insert(unit)
                if Int.random(in: 0..<3, using: &random) == 0 {
                    model.bytes.replaceSubrange(range, with: repeatElement(0, count: range.count))
                    try await device.writeZeroes(at: UInt64(range.lowerBound), length: UInt64(range.count))
                } else {
                    var bytes = [UInt8](repeating: UInt8.random(in: 0...255, using: &random), count: range.count)
                    for _ in 0..<16 { bytes[random.range(below: UInt64(range.count)).count - 1] ^= 0x5a }
                    bytes[0] |= 1
                    model.bytes.replaceSubrange(range, with: bytes)
                    try await device.write(at: UInt64(range.lowerBound), bytes: bytes)
                }
            }
            let digests = try await model.recorded(.xxh3, isWhole: index == 0).digests()
            layers.append(Layer(device: device, model: model, digests: digests))
        }
        self.layers = layers.reversed()
    }

    /// The first layer whose proof fails, with the range.
    func firstFault() async -> (layer: Int, range: UInt64, fault: ContentFault)? {
        var buffer = AlignedBuffer(count: Int(ContentGeometry.rangeLength))
        for (index, proof) in proofs.enumerated() {
            for range in 0..<proof.digests.geometry.rangeCount {
                if let fault = await proof.fault(inRange: range, &buffer) { return (index, range, fault) }
            }
        }
        return nil
    }
}

extension MemoryDevice {
    /// Changes one bit, without a word to anybody.
    func flip(bit: Int, at offset: UInt64) {
        let byte = snapshot.bytes(at: offset, count: 1)[0]
        fill([byte ^ (1 << UInt8(bit))], at: offset)
    }
}
