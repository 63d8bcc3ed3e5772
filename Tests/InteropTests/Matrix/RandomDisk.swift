// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport

/// A disk of random content in a chain of random images, made by qemu-img and qemu-io.
struct RandomDisk {
    /// Images of the chain, top first.
    private(set) var layers: [FilePath] = []
    /// Bytes of the topmost image's disk.
    private(set) var length: UInt64 = 0
    private let directory: TemporaryDirectory
    private var random: SeededRandom

    var path: FilePath { layers[0] }
    var backing: FilePath? { layers.count > 1 ? layers[1] : nil }

    /// - Parameter top: shape of the topmost image; those below are drawn.
    init(
        _ top: ImageShape, layers count: Int, in directory: TemporaryDirectory, random: inout SeededRandom
    ) async throws {
        self.directory = directory
        self.random = SeededRandom(seed: random.next())
        // Neither zero nor to be compressed; shorter than most writes, which repeat it.
        try directory.write(self.random.bytes(count: 300_000), to: "noise")
        for level in (0..<count).reversed() {
            try await addLayer(level == 0 ? top : ImageShape(random: &self.random), level: level)
        }
    }

    private mutating func addLayer(_ shape: ImageShape, level: Int) async throws {
        let path = directory.file("layer\(level).qcow2")
        // Some clusters and a bit, of sectors; disks of large clusters would take long if they had many.
        let clusters = UInt64.random(in: 1...4, using: &random) * max(1, (1 << 20) / shape.clusterSize)
        length = clusters * shape.clusterSize + UInt64.random(in: 0...40, using: &random) * 512
        let options = shape.options(dataPath: directory.file("data\(level)").string)
        // A raw data file can't leave anything to a backing file.
        let backing = shape.dataFile == .raw ? nil : layers.first
        if shape.dataFile == .raw { layers = [] }
        try await Peers.create(path, options, length, backing: backing)
        layers.insert(path, at: 0)

        var commands = shape.dataFile == .none ? compressedWrites(shape) : []
        for _ in 0..<Int.random(in: 3...9, using: &random) { commands.append(change(shape)) }
        try await Peers.io(path, commands)
        if shape.dataFile == .none, shape.refcountBits >= 16, Int.random(in: 0..<4, using: &random) == 0 {
            // From now on some clusters are shared with a snapshot.
            try await Program.qemuIMG.runSuccessfully(["snapshot", "-q", "-c", "before", path.string])
            try await Peers.io(path, [change(shape), change(shape)])
        }
    }

    /// Before all else, since qemu-io writes compressed data only where there is none.
    private mutating func compressedWrites(_ shape: ImageShape) -> [String] {
        let clusters = (length - 1) / shape.clusterSize + 1
        var commands: [String] = []
        var next: UInt64 = 0
        while next < clusters, commands.count < 5 {
            let start = next + UInt64.random(in: 0...(clusters - next) / 2, using: &random)
            let count = UInt64.random(in: 1...max(1, (clusters - start) / 3), using: &random)
            let end = min((start + count) * shape.clusterSize, length)
            if start < clusters {
                let offset = start * shape.clusterSize
                commands.append("write -q -c \(pattern()) \(offset) \(end - offset)")
            }
            next = start + count + 1
        }
        return commands
    }

    private mutating func change(_ shape: ImageShape) -> String {
        let alignment = Bool.random(using: &random) ? 512 : min(shape.clusterSize, 65536)
        let range = random.range(below: length, alignment: alignment)
        let place = "\(range.lowerBound) \(range.count)"
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<6: return "write -q \(pattern()) \(place)"
        case 6: return "write -q -z \(place)"
        case 7: return "write -q -z -u \(place)"
        case 8: return "write -q -P 0 \(place)"
        default: return "discard -q \(place)"
        }
    }

    private mutating func pattern() -> String {
        if Bool.random(using: &random) { return "-s \(directory.file("noise"))" }
        return "-P \(Int.random(in: 1...255, using: &random))"
    }
}
