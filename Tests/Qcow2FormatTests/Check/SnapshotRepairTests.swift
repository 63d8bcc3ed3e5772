// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import TestSupport
import Testing

@testable import Qcow2Format

/// Snapshot tables whose entries have too little or too much extra data are written anew; every snapshot is what it was.
@Suite struct SnapshotRepairTests {
    static let clusterBits = 12

    /// A closed image with a snapshot that shares everything with the disk, and what the disk holds.
    static func image(extra: [UInt8], marks: UInt8 = 0) async throws -> (bytes: [UInt8], content: [UInt8]) {
        var kind = ImageCase(clusterBits: clusterBits)
        kind.sizeOverride = 1 << 20
        let model = try await ImageModel(kind)
        try await model.write(0..<20 << 12)
        try await model.close()
        var bytes = (model.file as! MemoryDevice).snapshot.allBytes
        func word(_ offset: Int) -> UInt64 { (try? bytes.span.bytes.bigEndian(at: offset)) ?? 0 }
        let cluster = 1 << clusterBits
        let (l1, copied) = (Int(word(40)), UInt64(1) << 63)
        let table = Int(word(l1) & ~copied)
        let block = Int(word(Int(word(48))))
        // Everything is used twice now.
        bytes.storeBigEndian(word(l1) & ~copied, at: l1)
        bytes.storeBigEndian(UInt16(2), at: block + table / cluster * 2)
        for index in 0..<20 {
            let entry = word(table + index * 8) & ~copied
            bytes.storeBigEndian(entry, at: table + index * 8)
            bytes.storeBigEndian(UInt16(2), at: block + Int(entry) / cluster * 2)
        }
        bytes += [UInt8](repeating: 0, count: -bytes.count & (cluster - 1))
        let copy = bytes.count
        bytes += bytes[l1..<l1 + 8] + [UInt8](repeating: 0, count: cluster - 8)
        let start = bytes.count
        var entry: [UInt8] = []
        entry.appendBigEndian(UInt64(copy))
        entry.appendBigEndian(UInt32(1))
        entry.appendBigEndian(UInt32(1 << 16 | 3))
        for _ in 0..<2 { entry.appendBigEndian(UInt64(7)) }
        entry.appendBigEndian(UInt32(77))
        entry.appendBigEndian(UInt32(extra.count))
        bytes += entry + extra + Array("1one".utf8)
        bytes += [UInt8](repeating: 0, count: -bytes.count & (cluster - 1))
        for offset in [copy, start] { bytes.storeBigEndian(UInt16(1), at: block + offset / cluster * 2) }
        bytes.storeBigEndian(UInt32(1), at: 60)
        bytes.storeBigEndian(UInt64(start), at: 64)
        bytes[79] |= marks
        return (bytes, model.expected)
    }

    static let sizes: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0x10, 0, 0]

    @Test func healthy() async throws {
        let (bytes, content) = try await Self.image(extra: Self.sizes)
        let device = MemoryDevice(bytes: bytes)
        let report = try await Qcow2Check(device).run()
        #expect(report.isClean && report.problems.isEmpty, "\(report.problems)")
        #expect(try await Qcow2File(device).open(snapshot: "one").bytes(at: 0, count: content.count) == content)
    }

    @Test(arguments: [0, 3, 8, 12, 2000], [false, true]) func extraData(count: Int, isFixed: Bool) async throws {
        // Some are marked corrupt too.
        let marks: UInt8 = count == 0 ? 2 : 0
        let extra = Array(Self.sizes.prefix(count)) + [UInt8](repeating: 0xff, count: max(count - 16, 0))
        let (bytes, content) = try await Self.image(extra: extra, marks: marks)
        let room = [UInt8](repeating: 1, count: isFixed ? 1 << 20 : 0)
        let memory = MemoryDevice(name: "image.qcow2", bytes: bytes + room)
        let file: any Storage = isFixed ? LimitedDevice(memory, length: memory.length) : memory
        let outcome = try await Qcow2Check(file).repair(.all) { _ in }
        #expect(outcome.before.counts[.snapshot] == 1 && !outcome.before.isClean)
        #expect(outcome.after.isClean && outcome.after.problems.isEmpty, "\(outcome.after.problems)")
        let image = try await Qcow2File(file)
        #expect(!image.facts.isMarkedCorrupt)
        let snapshot = try #require(try await image.snapshots().first)
        #expect(snapshot.name == "one" && snapshot.id == "1" && snapshot.vmStateSize == 77)
        #expect(snapshot.diskSize == 1 << 20 && snapshot.dateSeconds == 0 && snapshot.vmClockNanoseconds == 7)
        // Written to, the disk leaves the snapshot what it was.
        let disk = try await image.open(forWriting: true)
        try await disk.write(at: 0, bytes: [UInt8](repeating: 5, count: 1 << 18))
        try await disk.close()
        #expect(try await Qcow2File(file).open(snapshot: "one").bytes(at: 0, count: content.count) == content)
        #expect(try await Qcow2Check(file).run().isClean)
    }

    /// Whatever a crash in between leaves, the snapshot is there, and the next repair ends where this one would have.
    @Test(arguments: [0, 2000]) func crash(count: Int) async throws {
        let extra = Array(Self.sizes.prefix(count)) + [UInt8](repeating: 0, count: max(count - 16, 0))
        let (bytes, content) = try await Self.image(extra: extra)
        let recorder = FaultInjectingDevice(MemoryDevice(bytes: bytes))
        recorder.startRecording(initial: SparseBytes(bytes))
        _ = try await Qcow2Check(recorder).repair(.all) { _ in }
        let recording = try #require(recorder.recording)
        var random = SeededRandom(seed: UInt64(count))
        for prefix in 0...recording.requests.count {
            for crashed in [
                recording.content(afterPrefix: prefix), recording.contentKeepingLast(ofPrefix: prefix),
                recording.content(afterPrefix: prefix, losingSome: &random),
            ] {
                let device = MemoryDevice(name: "image.qcow2", length: 0)
                device.restore(crashed)
                // No cluster that is in use counts as free meanwhile.
                let report = try await Qcow2Check(device).run()
                #expect(report.counts[.refcountTooLow] == nil, "after \(prefix): \(report.problems)")
                let after = try await Qcow2Check(device).repair(.all) { _ in }.after
                #expect(after.isClean, "after \(prefix): \(after.problems)")
                let disk = try await Qcow2File(device).open(snapshot: "one")
                #expect(try await disk.bytes(at: 0, count: content.count) == content, "after \(prefix)")
            }
        }
    }
}
