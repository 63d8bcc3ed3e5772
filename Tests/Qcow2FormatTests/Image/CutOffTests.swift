// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import TestSupport
import Testing

@testable import Qcow2Format

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
        options.backingFormat = "qcow2"
        let file = MemoryDevice(name: "top.qcow2", length: 0)
        let top = try await Qcow2Image.create(options, in: file, backing: below)
        #expect(try await isCutOff(top, 0..<top.length))
        // The clusters were written in order, so the last one is what is missing.
        try await top.writeZeroes(at: length - UInt64(Self.clusterLength), length: UInt64(Self.clusterLength))
        #expect(try await !isCutOff(top, 0..<top.length))
    }

    /// Wherever a file ends: what a check calls clean is read, and a repair loses nothing that was.
    @Test(arguments: [false, true])
    func checksAndReadersAgree(compresses: Bool) async throws {
        let whole = try await makeImage(compresses: compresses)
        var (clean, repaired) = (0, 0)
        for length in stride(from: whole.count, to: whole.count - 6 * Self.clusterLength, by: compresses ? -97 : -256) {
            let device = RepairTests.device(SparseBytes(Array(whole[..<length])))
            guard let image = try? await Qcow2File(device).open() else { break }
            var readable: [Int: [UInt8]] = [:]
            for cluster in 0..<Self.clusters {
                readable[cluster] = try? await image.bytes(
                    at: UInt64(cluster * Self.clusterLength), count: Self.clusterLength)
            }
            let isWhole = readable.count == Self.clusters
            let report = try await Qcow2Check(device).run()
            #expect(!report.isClean || isWhole, "\(length) of \(whole.count) bytes: \(report.problems)")
            clean += report.isClean ? 1 : 0
            let outcome = try await Qcow2Check(device).repair(.all) { _ in }
            guard outcome.after.isClean else { continue }
            repaired += isWhole ? 0 : 1
            let mended = try await Qcow2File(device).open()
            for cluster in 0..<Self.clusters {
                let now = try await mended.bytes(at: UInt64(cluster * Self.clusterLength), count: Self.clusterLength)
                let isLost = readable[cluster] == nil && now.allSatisfy { $0 == 0 }
                #expect(isLost || now == readable[cluster], "\(length) of \(whole.count) bytes, cluster \(cluster)")
            }
        }
        #expect(clean > 0 && repaired > 10, "\(clean), \(repaired)")
    }

    /// An image of which an L1 or L2 table is the last thing in the file.
    private func image(endingWith table: Qcow2Error.Structure) async throws -> (bytes: [UInt8], table: Int) {
        var bytes = try await makeImage(compresses: false)
        func word(_ offset: Int) -> UInt64 { (try? bytes.span.bytes.bigEndian(at: offset)) ?? 0 }
        bytes += [UInt8](
            repeating: 0, count: (Self.clusterLength - bytes.count % Self.clusterLength) % Self.clusterLength)
        let end = bytes.count
        let l1 = Int(word(40))
        let block = Int(word(Int(word(48))))
        let old = table == .l1Table ? l1 : Int(word(l1) & L2Entry.offsetMask)
        if table == .l1Table {
            bytes.storeBigEndian(UInt64(end), at: 40)
        } else {
            bytes.storeBigEndian(UInt64(end) | 1 << 63, at: l1)
        }
        bytes += bytes[old..<old + Self.clusterLength]
        bytes.storeBigEndian(UInt16(1), at: block + end / Self.clusterLength * 2)
        bytes.storeBigEndian(UInt16(0), at: block + old / Self.clusterLength * 2)
        return (bytes, end)
    }

    /// What an L1 table that is not there leads to is not nothing.
    @Test(arguments: [0, 1, 7]) func l1TableAtTheEnd(kept: Int) async throws {
        let (bytes, table) = try await image(endingWith: .l1Table)
        #expect(try await Qcow2Check(MemoryDevice(bytes: bytes)).run().isClean)
        _ = try await open(Array(bytes[..<(table + 8)]))
        let device = RepairTests.device(SparseBytes(Array(bytes[..<(table + kept)])))
        await #expect(throws: BlockError.self) { try await Qcow2File(device).open() }
        for scope in [RepairScope.leaks, .all] {
            let outcome = try await Qcow2Check(device).repair(scope) { _ in }
            #expect(outcome.before.counts[.tablePastEnd] == 1, "\(outcome.before.problems)")
            #expect(outcome.leaksFixed == 0 && !outcome.after.isClean)
        }
    }

    /// What the missing entries of an L2 table led to is not given away, and the user is told.
    @Test(arguments: [8, 64, 128]) func l2TableAtTheEnd(kept: Int) async throws {
        let (bytes, table) = try await image(endingWith: .l2Table)
        #expect(try await open(bytes).warning == nil)
        let device = RepairTests.device(SparseBytes(Array(bytes[..<(table + kept)])))
        let warning = try #require(try await Qcow2File(device).open().warning)
        #expect(warning.contains("\(table)"))
        for scope in [RepairScope.leaks, .all] {
            let outcome = try await Qcow2Check(device).repair(scope) { _ in }
            // Of 16 entries, all are there with 128 bytes.
            #expect((outcome.before.leaks > 0) == (kept < 128), "\(outcome.before.problems)")
            #expect(outcome.leaksFixed == 0 && outcome.after.corruptions == 0, "\(outcome.after.problems)")
        }
    }

    /// Of a file that lacks a part of its last cluster that part is zeroes. Where it lacks more, that part is lost as well.
    @Test func lostPadding() async throws {
        let whole = try await makeImage(compresses: false)
        let last = Array(whole[..<(whole.count - 1000)])
        #expect(try await open(last).lostPadding() == [])
        let more = try await open(Array(whole[..<(whole.count - Self.clusterLength - 1000)]))
        let end = UInt64((Self.clusters - 1) * Self.clusterLength)
        #expect(try await more.lostPadding() == [end - 1000..<end])
        var options = Qcow2Options(size: more.length)
        options.clusterBits = 12
        options.backingFileName = "image.qcow2"
        options.backingFormat = "qcow2"
        let top = try await Qcow2Image.create(options, in: MemoryDevice(name: "top.qcow2", length: 0), backing: more)
        #expect(try await top.lostPadding() == [end - 1000..<end])
        // What is covered is not lost.
        try await top.writeZeroes(at: end - UInt64(Self.clusterLength), length: UInt64(Self.clusterLength))
        #expect(try await top.lostPadding() == [])
    }

    /// Any number of entries may lead to the last cluster of a small file: what is remembered of them has a bound.
    @Test func hostilePadding() async throws {
        var options = Qcow2Options(size: 64 << 20)
        options.clusterBits = 12
        let file = MemoryDevice(name: "image.qcow2", length: 0)
        let image = try await Qcow2Image.create(options, in: file)
        try await image.write(at: 0, bytes: [UInt8](repeating: 1, count: Self.clusterLength))
        try await image.close()
        var bytes = file.snapshot.allBytes
        func word(_ offset: Int) -> UInt64 { (try? bytes.span.bytes.bigEndian(at: offset)) ?? 0 }
        let (l1, end) = (Int(word(40)), bytes.count)
        let table = word(l1)
        for index in 0..<32 { bytes.storeBigEndian(table, at: l1 + index * 8) }
        let l2 = Int(table & L2Entry.offsetMask)
        for index in 0..<512 { bytes.storeBigEndian(UInt64(end), at: l2 + index * 8) }
        // One cluster behind the last one, of which a byte is there.
        bytes.storeBigEndian(UInt64(end + Self.clusterLength), at: l2)
        let lost = try await open(bytes + [1]).lostPadding()
        #expect(lost.count == 4096 && lost.last?.upperBound == 64 << 20, "\(lost.count)")
        #expect(zip(lost, lost.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound })
    }
}
