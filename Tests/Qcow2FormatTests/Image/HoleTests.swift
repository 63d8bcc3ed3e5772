// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Qcow2Format
import TestSupport
import Testing

/// Data clusters in holes of the file are zeroes that are known without reading, where it is told to look and nobody writes.
@Suite struct HoleTests {
    private static let cluster: UInt64 = 65536

    /// 32 clusters of data, of which every other one is a hole of the file.
    private func image() async throws -> MemoryDevice {
        let file = MemoryDevice(length: 0)
        let image = try await Qcow2Image.create(Qcow2Options(size: 32 * Self.cluster), in: file)
        try await image.write(at: 0, bytes: [UInt8](repeating: 7, count: 32 * Int(Self.cluster)))
        try await image.close()
        let written = try await Qcow2File(file).open()
        for index in stride(from: 0, to: 32, by: 2) as StrideTo<UInt64> {
            let extent = try await written.blockStatus(at: index * Self.cluster, length: Self.cluster, in: .topLayer)
            let offset = try #require(extent.location).offset
            file.setStatus(.zero, of: offset..<offset + Self.cluster)
        }
        return file
    }

    @Test func holes() async throws {
        let image = try await Qcow2File(try await image()).open(looksForHoles: true)
        for index in 0..<32 as Range<UInt64> {
            let rest = (32 - index) * Self.cluster
            let extent = try await image.blockStatus(at: index * Self.cluster, length: rest, in: .chain)
            #expect(
                extent.isAllocated && extent.length == Self.cluster && extent.readsAsZero == index.isMultiple(of: 2))
            let bytes = try await image.bytes(at: index * Self.cluster, count: 10)
            #expect(bytes == [UInt8](repeating: index.isMultiple(of: 2) ? 0 : 7, count: 10))
        }
    }

    /// Not where it isn't told to look, not for what the top layer hides, and never in an image that is written.
    @Test func data() async throws {
        let file = try await image()
        let images = [
            (try await Qcow2File(file).open(), BlockStatusScope.chain),
            (try await Qcow2File(file).open(looksForHoles: true), .topLayer),
            (try await Qcow2File(file).open(forWriting: true, looksForHoles: true), .chain),
        ]
        for (image, scope) in images {
            let extents = try await image.extents(in: scope)
            #expect(extents.count == 1 && extents[0].isAllocated && !extents[0].readsAsZero)
        }
    }

    /// A file that ends before a cluster is cut off, whether it has holes or not.
    @Test func cutOff() async throws {
        let file = try await image()
        try await file.resize(to: file.length - 4 * Self.cluster)
        let image = try await Qcow2File(file).open(looksForHoles: true)
        await #expect(throws: BlockError.self) {
            for index in 0..<32 as Range<UInt64> {
                let extent = try await image.blockStatus(at: index * Self.cluster, length: Self.cluster, in: .chain)
                if !extent.readsAsZero { _ = try await image.bytes(at: index * Self.cluster, count: 10) }
            }
        }
    }
}
