// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import SystemPackage
import TestSupport
import Testing

@testable import Qcow2Format

/// An image whose refcount table is lost or broken can be read, says how it is repaired, can't be written, and is as good as
/// before once it is repaired: in a file that grows, and in storage of fixed length.
@Suite struct RefcountTableTests {
    /// What becomes of the table.
    enum Loss: String, Sendable, CaseIterable {
        case none, pastEnd, unaligned, tooLarge, zeroed, garbage
    }

    private func lose(_ loss: Loss, in bytes: inout [UInt8]) throws {
        let table: UInt64 = try bytes.span.bytes.bigEndian(at: 48)
        switch loss {
        case .none: bytes.storeBigEndian(UInt32(0), at: 56)
        case .pastEnd: bytes.storeBigEndian(UInt64(1) << 40, at: 48)
        case .unaligned: bytes.storeBigEndian(table + 512, at: 48)
        case .tooLarge: bytes.storeBigEndian(UInt32(1) << 31, at: 56)
        case .zeroed: bytes.storeBigEndian(UInt64(0), at: Int(table))
        case .garbage:
            var random = SeededRandom(seed: 11)
            for index in 0..<64 { bytes.storeBigEndian(random.next(), at: Int(table) + index * 8) }
        }
    }

    private func isTold(_ warnings: [String]) -> Bool { warnings.contains { $0.contains("check -r all") } }

    @Test(arguments: Loss.allCases, [false, true]) func lost(loss: Loss, isFixed: Bool) async throws {
        let model = try await ImageDamage.image(ImageCase(clusterBits: 12))
        var bytes = (model.file as! MemoryDevice).snapshot.allBytes
        try lose(loss, in: &bytes)
        // Room behind the image, as in a volume, that is not blank.
        let room = [UInt8](repeating: 0xa5, count: 1 << 20)
        let memory = MemoryDevice(name: "image.qcow2", bytes: bytes + (isFixed ? room : []))
        let file: any Storage = isFixed ? LimitedDevice(memory, length: memory.length) : memory
        let image = try await Qcow2File(file)
        // That entries of the table are wrong is seen by who looks at them.
        #expect(isTold(image.warnings) == ![.zeroed, .garbage].contains(loss), "\(image.warnings)")
        #expect(try await image.open().bytes(at: 0, count: model.expected.count) == model.expected)
        await #expect(throws: BlockError.self) { try await image.open(forWriting: true) }
        let outcome = try await Qcow2Check(file).repair(.all) { _ in }
        #expect(!outcome.before.isClean)
        #expect(outcome.after.isClean && outcome.after.problems.isEmpty, "\(outcome.after.problems.prefix(5))")
        if !isFixed { #expect(ImageCheck(memory.snapshot.allBytes).problems.isEmpty) }
        let repaired = try await Qcow2File(file)
        #expect(repaired.warnings.isEmpty)
        let disk = try await repaired.open(forWriting: true)
        #expect(try await disk.bytes(at: 0, count: model.expected.count) == model.expected)
        try await disk.write(at: 0, bytes: [UInt8](repeating: 9, count: 4096))
        try await disk.close()
        let after = try await Qcow2File(file).open().bytes(at: 0, count: model.expected.count)
        #expect(after[..<4096].allSatisfy { $0 == 9 } && after[4096...] == model.expected[4096...])
    }

    /// Storage without room for it.
    @Test func noRoom() async throws {
        let model = try await ImageDamage.image(ImageCase(clusterBits: 12), steps: 0)
        var bytes = (model.file as! MemoryDevice).snapshot.allBytes
        try lose(.zeroed, in: &bytes)
        let memory = MemoryDevice(bytes: bytes)
        let before = memory.snapshot
        await #expect {
            _ = try await Qcow2Check(LimitedDevice(memory, length: memory.length)).repair(.all) { _ in }
        } throws: { error in
            (error as? BlockError)?.errno == .noSpace
        }
        #expect(memory.snapshot == before)
    }
}
