// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import DiskChain
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// Whatever a run is at, nothing more is read or written once it is cancelled, and what it says is that it was cancelled.
@Suite(.timeLimit(.minutes(5)))
struct CancelledPhasesTests {
    enum Phase: String, Sendable, CaseIterable {
        case opening, bitmaps, cutOff, parentCheck, strangers, content, end, structure, map
    }

    private static let length: UInt64 = 64 << 20

    /// An image of small clusters, all of which are stored, so that each phase makes many requests.
    private static func image() async throws -> MemoryDevice {
        let file = MemoryDevice(length: 0)
        var options = Qcow2Options(size: length)
        options.clusterBits = 9
        let image = try await Qcow2Image.create(options, in: file)
        let bytes = [UInt8](repeating: 0, count: 1 << 20)
        for offset in stride(from: 0, to: length, by: bytes.count) { try await image.write(at: offset, bytes: bytes) }
        try await image.close()
        let bitmaps = try await Qcow2File(file).openBitmaps(forWriting: true)
        try await bitmaps.apply([.add(name: "b", granularity: 512, isRecording: true)])
        try await bitmaps.close()
        return file
    }

    private static func run(_ phase: Phase, on file: CancellingDevice) async throws(BlockError) {
        if phase == .structure {
            _ = try await Qcow2Check(file).run()
            return
        }
        let opened = try await Qcow2File(file)
        if phase == .bitmaps {
            _ = try await opened.openBitmaps(forWriting: true).load("b")
            return
        }
        let disk = try await opened.open()
        let parent = MemoryDevice(length: length)
        let bits = try! DirtyBitmap(length: length, granularity: 65536)
        switch phase {
        case .cutOff: try await disk.checkNotCutOff(0..<length)
        case .parentCheck: _ = try await ParentCheck(source: parent, parent: disk, bits: bits).firstDifference()
        case .strangers:
            _ = try await ParentCheck(source: parent, parent: disk, bits: bits).firstDifference(inLayersAbove: 1)
        case .content:
            var marked = bits
            marked.set(0..<length)
            _ = try await IncrementContent(source: disk, parent: parent).find(from: marked)
        case .end: _ = try await ForgottenEnd(source: disk, parent: disk, recorded: bits).find()
        case .map:
            var position: UInt64 = 0
            while position < length {
                position += try await disk.blockStatus(at: position, length: length - position, in: .chain).length
            }
        default: break
        }
    }

    private static func ending(of phase: Phase, on device: CancellingDevice) async -> String {
        await Task {
            do throws(BlockError) {
                try await run(phase, on: device)
                // What the sources of a check hide is found later: the phase may end, but the task is over.
                try Cancellation.check()
                return "completed"
            } catch {
                return ServiceError(error).code.rawValue
            }
        }.value
    }

    @Test(arguments: Phase.allCases) func endsAtOnce(phase: Phase) async throws {
        let file = try await Self.image()
        let whole = CancellingDevice(file, cancellingAt: 0)
        #expect(await Self.ending(of: phase, on: whole) == "completed")
        #expect(whole.requestCount > 2)
        for number in [1, 2, whole.requestCount / 2, whole.requestCount - 1] where number > 0 {
            let device = CancellingDevice(file, cancellingAt: number)
            #expect(await Self.ending(of: phase, on: device) == "cancelled", "request \(number)")
            #expect(device.afterwards == 0, "request \(number)")
        }
    }

    /// A run that was cancelled before it began leaves nothing.
    @Test func beforeTheStart() async throws {
        let bench = try VerifyBench()
        try bench.makeSource(length: 1 << 20)
        var request = BackupRequest(source: bench.path("disk.raw"), target: bench.path("backup"))
        request.sourceFormat = .raw
        let operation = BackupOperation(request) { _ in }
        operation.cancel()
        let error = try await refusal { _ = try await operation.run() }
        #expect(error.code == .cancelled && error.message == "cancelled")
        #expect(try bench.directory.names() == ["disk.raw"])

        let verification = VerifyOperation(VerifyRequest(backups: [bench.path("disk.raw")])) { _ in }
        verification.stop()
        #expect(try await refusal { _ = try await verification.run() }.code == .cancelled)
    }
}
