// SPDX-License-Identifier: GPL-2.0-or-later

import CZlib
import Qcow2Format
import TestSupport
import Testing

/// Stored bytes that don't give a cluster are refused with the right case, and nothing traps or writes past the cluster.
@Suite struct CompressionHostileInputTests {
    static let clusterLength = 4096

    static func stream(_ type: CompressionType, of data: [UInt8]) -> [UInt8] {
        switch type {
        case .zlib: CompressionReference.deflated(data)
        case .zstd: CompressionReference.zstdFrame(data)
        }
    }

    static func decompressor(_ type: CompressionType) throws -> ClusterDecompressor {
        try ClusterDecompressor(type: type, clusterSize: clusterLength)
    }

    @Test(arguments: CompressionType.allCases, ClusterContent.allCases)
    func `what follows the stream is ignored`(type: CompressionType, content: ClusterContent) throws {
        let cluster = content.bytes(count: Self.clusterLength, seed: 2)
        var decompressor = try Self.decompressor(type)
        let stored = Self.stream(type, of: cluster)
        var numbers = SeededRandom(seed: 3)
        for tail in [1, 2, 3, 4, 5, 100, 511, 5000] {
            #expect(try decompressor.decompress(stored + [UInt8](repeating: 0, count: tail)) == cluster)
            #expect(try decompressor.decompress(stored + [UInt8](repeating: 255, count: tail)) == cluster)
            #expect(try decompressor.decompress(stored + numbers.bytes(count: tail)) == cluster)
            #expect(try decompressor.decompress(stored + stored.prefix(tail)) == cluster)
        }
    }

    @Test(arguments: CompressionType.allCases, ClusterContent.allCases)
    func `every cut of a stream is refused or gives the cluster`(
        type: CompressionType, content: ClusterContent
    ) throws {
        let cluster = content.bytes(count: Self.clusterLength, seed: 4)
        let stored = Self.stream(type, of: cluster)
        var decompressor = try Self.decompressor(type)
        for length in 0..<stored.count {
            do {
                let result = try decompressor.decompress(Array(stored.prefix(length)))
                // Only the mark of the end can be missing.
                #expect(result == cluster && type == .zlib && length + 2 >= stored.count, "cut to \(length)")
            } catch {
                #expect(error == .truncated(type: type, storedLength: length))
            }
        }
        #expect(try decompressor.decompress(stored) == cluster)
    }

    @Test func `a deflate stream without an end is accepted where the cluster is full`() throws {
        let cluster = ClusterContent.text.bytes(count: Self.clusterLength, seed: 6)
        var decompressor = try Self.decompressor(.zlib)
        let stored = CompressionReference.deflated(cluster, end: Z_SYNC_FLUSH)
        #expect(try decompressor.decompress(stored) == cluster)
        // Behind it a block header of the reserved kind.
        #expect(throws: CompressionError.invalidData(type: .zlib, storedLength: stored.count + 1)) {
            try decompressor.decompress(stored + [0xff])
        }
    }

    @Test func `a deflate stream with long distances is read`() throws {
        let length = 32768
        let cluster = ClusterContent.repeatsBeyondWindow.bytes(count: length, seed: 7)
        let stored = CompressionReference.deflated(cluster, windowBits: -15)
        #expect(stored.count < length / 4)
        var decompressor = try ClusterDecompressor(type: .zlib, clusterSize: length)
        #expect(try decompressor.decompress(stored) == cluster)
    }

    @Test(arguments: CompressionType.allCases, [1, 2, 511, 4096, 100_000])
    func `a stream of more than a cluster is too long`(type: CompressionType, surplus: Int) throws {
        var decompressor = try Self.decompressor(type)
        for content in ClusterContent.allCases {
            let data = content.bytes(count: Self.clusterLength + surplus, seed: 8)
            #expect(throws: CompressionError.inflatesTooLong(clusterLength: Self.clusterLength), "\(content)") {
                try decompressor.decompress(Self.stream(type, of: data))
            }
        }
    }

    @Test(arguments: CompressionType.allCases, [1, 2, 511, 4095])
    func `a stream of less than a cluster is too short`(type: CompressionType, length: Int) throws {
        var decompressor = try Self.decompressor(type)
        for content in ClusterContent.allCases {
            let stored = Self.stream(type, of: content.bytes(count: length, seed: 9))
            let expected = CompressionError.inflatesTooShort(length: length, clusterLength: Self.clusterLength)
            #expect(throws: expected, "\(content)") { try decompressor.decompress(stored) }
            #expect(throws: expected, "\(content) and a tail") {
                try decompressor.decompress(stored + [UInt8](repeating: 0, count: 200))
            }
        }
    }

    @Test(arguments: CompressionType.allCases)
    func `no stored bytes are a cut stream`(type: CompressionType) throws {
        var decompressor = try Self.decompressor(type)
        #expect(throws: CompressionError.truncated(type: type, storedLength: 0)) {
            try decompressor.decompress([])
        }
    }

    @Test(arguments: CompressionType.allCases)
    func `the wrong type is invalid`(type: CompressionType) throws {
        var decompressor = try Self.decompressor(type)
        let other: CompressionType = type == .zlib ? .zstd : .zlib
        let stored = Self.stream(other, of: ClusterContent.text.bytes(count: Self.clusterLength, seed: 10))
        #expect(throws: CompressionError.invalidData(type: type, storedLength: stored.count)) {
            try decompressor.decompress(stored)
        }
    }

    @Test(arguments: CompressionType.allCases, 0..<8)
    func `random bytes never trap and hardly ever make a cluster`(type: CompressionType, seed: Int) throws {
        var decompressor = try Self.decompressor(type)
        var numbers = SeededRandom(seed: UInt64(seed))
        var refused = 0
        let rounds = 2000
        for round in 0..<rounds {
            var stored = numbers.bytes(count: Int.random(in: 1...700, using: &numbers))
            // Half of the zstd ones get past the magic number.
            if type == .zstd, round.isMultiple(of: 2) { stored = [0x28, 0xb5, 0x2f, 0xfd] + stored }
            do {
                _ = try decompressor.decompress(stored)
            } catch {
                refused += 1
            }
        }
        #expect(refused > rounds * 9 / 10)
    }

    @Test(arguments: CompressionType.allCases, ClusterContent.allCases)
    func `damaged streams never trap, and the decompressor stays usable`(
        type: CompressionType, content: ClusterContent
    ) throws {
        var decompressor = try Self.decompressor(type)
        var numbers = SeededRandom(seed: 11)
        let cluster = content.bytes(count: Self.clusterLength, seed: 12)
        let stored = Self.stream(type, of: cluster)
        for _ in 0..<1500 {
            var damaged = stored
            for _ in 0..<Int.random(in: 1...4, using: &numbers) {
                let index = Int.random(in: damaged.indices, using: &numbers)
                damaged[index] ^= UInt8.random(in: 1...255, using: &numbers)
            }
            _ = try? decompressor.decompress(damaged)
        }
        #expect(try decompressor.decompress(stored) == cluster)
    }
}
