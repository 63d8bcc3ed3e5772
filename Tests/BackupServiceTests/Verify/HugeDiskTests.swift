// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import FoundationEssentials
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// Disks of 64 TiB that hold next to nothing are looked at in no more steps than what they hold takes.
@Suite struct HugeDiskTests {
    /// Reads as zeroes but for one range, and counts what it is asked.
    private final class NearlyEmpty: BlockDevice {
        let length: UInt64
        let data: Range<UInt64>
        let byte: UInt8
        let calls = Locked(0)
        let readLength = Locked<UInt64>(0)

        init(length: UInt64, data: Range<UInt64>, byte: UInt8) {
            (self.length, self.data, self.byte) = (length, data, byte)
        }

        var name: String { "nearly empty" }
        var capabilities: DeviceCapabilities { DeviceCapabilities() }

        func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
            let count = UInt64(buffer.byteCount)
            readLength.withLock { $0 += count }
            for index in 0..<buffer.byteCount {
                let value = data.contains(offset + UInt64(index)) ? byte : 0
                buffer.storeBytes(of: value, toByteOffset: index, as: UInt8.self)
            }
        }

        func blockStatus(
            at offset: UInt64, length: UInt64, in scope: BlockStatusScope
        ) async throws(BlockError) -> BlockExtent {
            calls.withLock { $0 += 1 }
            let isData = data.contains(offset)
            let end = isData ? data.upperBound : offset < data.lowerBound ? data.lowerBound : self.length
            return BlockExtent(length: min(length, end - offset), isAllocated: isData, readsAsZero: !isData)
        }
    }

    private static let length: UInt64 = 64 << 40
    private static let data: Range<UInt64> = (40 << 40) + (5 << 20)..<(40 << 40) + (6 << 20)

    private static func proof(_ device: NearlyEmpty, in directory: TemporaryDirectory) async throws -> LayerProof {
        let recorder = ContentRecorder(virtualSize: length, algorithm: .xxh3)
        recorder.recordZeroes(at: 0, length: length)
        let blank = NearlyEmpty(length: length, data: data, byte: 5)
        recorder.unsettle(data.lowerBound, UInt64(data.count))
        let content = try await recorder.finish(isWhole: true, reading: blank)
        let header = ManifestHeader(
            id: "0", created: .now, writer: "test", target: .init(name: "b", format: "raw"),
            source: .init(path: "/a", format: "raw", snapshot: nil, length: length, modified: nil), sync: "full",
            bitmap: nil, parent: nil, unreadable: [], content: try await content.summary())
        let file = try LocalStorage.open(directory.file("m").string, access: .create, lock: nil)
        try await Manifest.write(header, content, to: file)
        return LayerProof(device, digests: try await Manifest(reading: file).digests)
    }

    @Test(arguments: [5, 6] as [UInt8], [1, 3]) func verify(byte: UInt8, workers: Int) async throws {
        let directory = try TemporaryDirectory()
        let device = NearlyEmpty(length: Self.length, data: Self.data, byte: byte)
        let scan = LayerScan(try await Self.proof(device, in: directory), from: 0) { false }
        await withTaskGroup { group in
            for _ in 0..<workers { group.addTask { await scan.work() } }
        }
        #expect(scan.checkedRanges == scan.rangeCount && scan.checkedLength == Self.length)
        #expect(scan.bad.map(\.range) == (byte == 5 ? [] : [Self.data]) && scan.position == scan.rangeCount)
        #expect(device.calls.withLock { $0 } < 1000 && device.readLength.withLock { $0 } == 1 << 20)
    }

    /// Zeroes that are none any more are found wherever they are.
    @Test func unexpectedData() async throws {
        let directory = try TemporaryDirectory()
        let more = Self.data.lowerBound - (3 << 20)..<Self.data.upperBound
        let device = NearlyEmpty(length: Self.length, data: more, byte: 5)
        let scan = LayerScan(try await Self.proof(device, in: directory), from: 0) { false }
        await scan.work()
        #expect(scan.bad.map(\.range) == [more.lowerBound..<Self.data.lowerBound])
        #expect(scan.checkedRanges == scan.rangeCount)
    }

    @Test(arguments: [1, 3]) func compare(workers: Int) async throws {
        let one = NearlyEmpty(length: Self.length, data: Self.data, byte: 5)
        for byte in [5, 6] as [UInt8] {
            let two = NearlyEmpty(length: Self.length, data: Self.data, byte: byte)
            let scan = CompareScan(one, two, length: Self.length)
            await withTaskGroup { group in
                for _ in 0..<workers { group.addTask { await scan.work() } }
            }
            #expect(scan.first?.offset == (byte == 5 ? nil : Self.data.lowerBound))
            #expect(byte == 6 || scan.done == Self.length)
            #expect(two.calls.withLock { $0 } < 1000)
        }
    }
}
