// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format
import TestSupport
import Testing

/// Clusters come back as they were, from our reader and from the plain libraries.
///
/// - A stream is shorter than its cluster, or there is none.
/// - The zlib type never points back more than 4096 bytes.
/// - A compressor and a decompressor can be used again and again, also after a cluster that did not shrink.
@Suite struct CompressionRoundTripTests {
    static let clusterBits = 9...21

    /// The slow levels only where they don't take seconds.
    static func settings(clusterBits: Int) -> [CompressionSettings] {
        let zlib = clusterBits <= 17 ? Array(1...9) : [1, 2, 3, 6]
        let zstd = clusterBits <= 16 ? [1, 2, 3, 5, 9, 19] : [1, 3]
        let all =
            zlib.map { CompressionSettings(type: .zlib, level: $0) }
            + zstd.map { CompressionSettings(type: .zstd, level: $0) }
        // The two that most backups use, and of the others each with some sizes.
        return all.enumerated().filter { index, settings in
            isHeavyRun || settings.level == 1 || (index + clusterBits) % 5 == 0
        }.map(\.element)
    }

    @Test(arguments: clusterBits, ClusterContent.allCases)
    func `every content comes back at every level`(clusterBits: Int, content: ClusterContent) throws {
        let cluster = content.bytes(count: 1 << clusterBits, seed: UInt64(clusterBits))
        for settings in Self.settings(clusterBits: clusterBits) {
            var compressor = try ClusterCompressor(settings, clusterSize: cluster.count)
            var decompressor = try ClusterDecompressor(type: settings.type, clusterSize: cluster.count)
            // Twice, because the state is used again.
            let first = compressor.compress(cluster)
            let second = compressor.compress(cluster)
            #expect(first == second)
            guard let stored = first else {
                #expect(content != .zeros && content != .text, "\(settings) must shrink this")
                continue
            }
            #expect(content != .random, "random data can't shrink")
            #expect(stored.count < cluster.count)
            #expect(try decompressor.decompress(stored) == cluster, "\(settings)")
            let reference =
                switch settings.type {
                case .zlib: CompressionReference.inflatedInWindow(stored, count: cluster.count)
                case .zstd: CompressionReference.zstdContent(stored, count: cluster.count)
                }
            #expect(reference == cluster, "\(settings) as read by the plain library")
        }
    }

    @Test(arguments: [
        CompressionSettings(type: .zlib, level: 1), CompressionSettings(type: .zlib, level: 2),
        CompressionSettings(type: .zlib, level: 3), CompressionSettings(type: .zlib, level: 9),
        CompressionSettings(type: .zstd, level: 1), CompressionSettings(type: .zstd, level: 3),
    ])
    func `one compressor takes cluster after cluster`(settings: CompressionSettings) throws {
        let clusterLength = 65536
        var used = try ClusterCompressor(settings, clusterSize: clusterLength)
        var decompressor = try ClusterDecompressor(type: settings.type, clusterSize: clusterLength)
        for round in 0..<3 {
            for content in ClusterContent.allCases {
                let cluster = content.bytes(count: clusterLength, seed: UInt64(round))
                var fresh = try ClusterCompressor(settings, clusterSize: clusterLength)
                let stored = used.compress(cluster)
                #expect(stored == fresh.compress(cluster), "what came before must not show")
                guard let stored else { continue }
                #expect(try decompressor.decompress(stored) == cluster)
            }
        }
    }

    @Test(arguments: [1, 2, 3, 6, 9])
    func `many mixed clusters stay inside the window of 4 KiB`(level: Int) throws {
        let clusterLength = 32768
        var compressor = try ClusterCompressor(
            CompressionSettings(type: .zlib, level: level), clusterSize: clusterLength)
        var shrunk = 0
        for seed in 0..<60 {
            let cluster = ClusterContent.mixed.bytes(count: clusterLength, seed: UInt64(seed))
            guard let stored = compressor.compress(cluster) else { continue }
            shrunk += 1
            #expect(CompressionReference.inflatedInWindow(stored, count: clusterLength) == cluster)
        }
        #expect(shrunk > 50)
    }

    @Test func `the window check itself sees a longer distance`() {
        let cluster = ClusterContent.repeatsBeyondWindow.bytes(count: 16384, seed: 1)
        let stored = CompressionReference.deflated(cluster, windowBits: -15)
        #expect(stored.count < 8192)
        #expect(CompressionReference.inflatedInWindow(stored, count: cluster.count) == nil)
        let narrow = CompressionReference.deflated(cluster, windowBits: -12)
        #expect(CompressionReference.inflatedInWindow(narrow, count: cluster.count) == cluster)
    }

    @Test(arguments: [
        CompressionSettings(type: .zlib, level: 1), CompressionSettings(type: .zlib, level: 2),
        CompressionSettings(type: .zlib, level: 3), CompressionSettings(type: .zlib, level: 6),
        CompressionSettings(type: .zstd, level: 1), CompressionSettings(type: .zstd, level: 3),
    ])
    func `an output with any room gives the same stream or none`(settings: CompressionSettings) throws {
        let cluster = ClusterContent.text.bytes(count: 2048, seed: 5)
        var compressor = try ClusterCompressor(settings, clusterSize: cluster.count)
        let first = compressor.compress(cluster)
        let stored = try #require(first)
        // zstd asks for a little more room than it uses in the end.
        for room in 0...stored.count + 128 {
            let again = compressor.compress(cluster, room: room)
            if room < stored.count {
                #expect(again == nil)
            } else if let again {
                #expect(again == stored)
            }
        }
        #expect(compressor.compress(cluster, room: cluster.count - 1) == stored)
        #expect(compressor.compress(cluster, room: 3 * cluster.count) == stored)
    }
}
