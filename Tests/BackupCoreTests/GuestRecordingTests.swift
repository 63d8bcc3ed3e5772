// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage
import Testing

@testable import BackupCore

/// A bitmap that is cleared while a write is in flight has the write: whoever cleared it may have copied what was there
/// before.
@Suite struct GuestRecordingTests {
    static let operations: [TestDisk.Operation] = [.write, .writeCompressed, .writeZeroes, .copyRange, .discard]

    @Test(arguments: operations, [false, true])
    func clearedInFlight(_ operation: TestDisk.Operation, fails: Bool) async throws {
        let content = [UInt8](repeating: 1, count: 65536)
        let disk = TestDisk(
            bytes: [UInt8](repeating: 7, count: 4 * 65536),
            capabilities: DeviceCapabilities(isReadOnly: false, canWriteCompressed: true, canCopyRange: true))
        let guest = GuestDevice(disk)
        try await guest.addBitmap("b", granularity: 65536)
        let cleared = Locked(false)
        disk.hang(operation, call: 1) {
            guest.withBitmaps { bitmaps in
                try? bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.clear() }
            }
            cleared.withLock { $0 = true }
        }
        // A part of what fails may have been done.
        if fails { disk.fail(operation, call: 1, with: .ioError) }
        do throws(BlockError) {
            switch operation {
            case .write: try await guest.write(at: 65536, from: content.span.bytes)
            case .writeCompressed: try await guest.writeCompressed(at: 65536, from: content.span.bytes)
            case .writeZeroes: try await guest.writeZeroes(at: 65536, length: 65536)
            case .copyRange:
                let place = StorageLocation(device: TestStorage(content), offset: 0)
                _ = try await guest.copyRange(from: place, to: 65536, length: 65536)
            default: try await guest.discard(at: 65536, length: 65536)
            }
            #expect(!fails)
        } catch {
            #expect(fails)
        }
        #expect(cleared.withLock { $0 })
        #expect(guest.withBitmaps { $0.find("b")?.bits.dirtyRanges() } == [65536..<131_072])
    }

    /// A job's own writes to a target that has bitmaps are recorded likewise.
    @Test func jobsWrites() async throws {
        let disk = TestDisk(name: "target", bytes: [UInt8](repeating: 0, count: 65536))
        let target = GuestDevice(disk)
        try await target.addBitmap("b", granularity: 65536)
        disk.hang(.write, call: 1) {
            target.withBitmaps { bitmaps in
                try? bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.clear() }
            }
        }
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(
            source: TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: 65536)), target: target,
            configuration: .init())
        try await job.run(on: workers)
        #expect(target.withBitmaps { $0.find("b")?.bits.dirtyRanges() } == [0..<65536])
    }
}
