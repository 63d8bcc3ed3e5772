// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format
import TestSupport
import Testing

/// Files that were cut off are found out from their tables, exactly where reading would fail too.
@Suite struct CutOffTests {
    private static let clusters = 16
    private static let clusterLength = 4096

    /// Bytes of an image that holds all of its clusters but the first.
    private func makeImage(compresses: Bool) async throws -> [UInt8] {
        var options = Qcow2Options(size: UInt64(Self.clusters * Self.clusterLength))
        options.clusterBits = 12
        let file = MemoryDevice(name: "image.qcow2", length: 0)
        let image = try await Qcow2Image.create(options, in: file)
        var random = SeededRandom(seed: 5)
        for cluster in 1..<Self.clusters {
            let offset = UInt64(cluster * Self.clusterLength)
            let bytes = random.compressibleBytes(count: Self.clusterLength)
            if compresses {
                try await image.writeCompressed(at: offset, from: bytes.span.bytes)
            } else {
                try await image.write(at: offset, bytes: bytes)
            }
        }
        try await image.close()
        return try await file.bytes(at: 0, count: Int(file.length))
    }

    private func open(_ bytes: [UInt8], over backing: (any BlockDevice)? = nil) async throws -> Qcow2Image {
        try await Qcow2File(MemoryDevice(name: "image.qcow2", bytes: bytes)).open(backing: backing)
    }

    private func isCutOff(_ image: Qcow2Image, _ range: Range<UInt64>) async throws -> Bool {
        do {
            try await image.checkNotCutOff(range)
            return false
        } catch {
            #expect("\(error)".contains("the image is truncated"), "\(error)")
            return true
        }
    }

    private func canBeRead(_ image: any BlockDevice, _ range: Range<UInt64>) async -> Bool {
        (try? await image.bytes(at: range.lowerBound, count: range.count)) != nil
    }

    @Test(arguments: [false, true])
    func eachLength(compresses: Bool) async throws {
        let whole = try await makeImage(compresses: compresses)
        var count = 0
        // Down from the end, as long as the tables are there.
        for length in stride(from: whole.count, to: 0, by: -256) {
            guard let image = try? await open(Array(whole[..<length])) else { break }
            for cluster in 0..<Self.clusters {
                let start = UInt64(cluster * Self.clusterLength)
                let range = start..<start + UInt64(Self.clusterLength)
                let isReadable = await canBeRead(image, range)
                if compresses {
                    // A cluster of which a part is there can't be told from one that ends there.
                    if try await isCutOff(image, range) {
                        #expect(!isReadable)
                        count += 1
                    }
                } else {
                    #expect(try await isCutOff(image, range) == !isReadable)
                    count += isReadable ? 0 : 1
                }
            }
        }
        #expect(count > (compresses ? 3 : 10))
    }

    @Test func whatIsCoveredDoesNotMatter() async throws {
        let whole = try await makeImage(compresses: false)
        let below = try await open(Array(whole[..<(whole.count - Self.clusterLength)]))
        let length = below.length
        #expect(try await isCutOff(below, 0..<length))
        var options = Qcow2Options(size: length + 65536)
        options.backingFileName = "image.qcow2"
        options.backingFormat = .qcow2
        let file = MemoryDevice(name: "top.qcow2", length: 0)
        let top = try await Qcow2Image.create(options, in: file, backing: below)
        #expect(try await isCutOff(top, 0..<top.length))
        // The clusters were written in order, so the last one is what is missing.
        try await top.writeZeroes(at: length - UInt64(Self.clusterLength), length: UInt64(Self.clusterLength))
        #expect(try await !isCutOff(top, 0..<top.length))
    }
}
