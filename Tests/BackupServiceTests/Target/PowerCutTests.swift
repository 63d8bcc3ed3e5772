// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import FormatTestSupport
import Qcow2Format
import TestSupport
import Testing

@testable import BackupService

/// A power cut at any moment of a backup, on a disk that may lose or tear any write since the last flush: what is left
/// opens as an image only where it holds the whole backup, or where nothing of it was begun.
@Suite struct PowerCutTests {
    private static let length = 900 << 10

    struct Case: Sendable, CustomTestStringConvertible {
        var compression: CompressionSettings?
        var clusterBits = 16
        /// Whether the target is an image that exists already.
        var reuses = false

        var testDescription: String {
            "\(reuses ? "old" : "new"), clusters of 2^\(clusterBits)\(compression == nil ? "" : ", compressed")"
        }
    }

    private static let cases = [false, true].flatMap { reuses in
        [12, 16].flatMap { bits in
            [nil, CompressionSettings()].map { Case(compression: $0, clusterBits: bits, reuses: reuses) }
        }
    }

    private let source: MemoryDevice

    init() {
        var random = SeededRandom(seed: 1)
        source = MemoryDevice(
            bytes: random.bytes(count: 300 << 10) + [UInt8](repeating: 0, count: 300 << 10)
                + random.compressibleBytes(count: 300 << 10))
    }

    /// Makes the target as `TargetMaker` does, over the storage that is watched.
    private func makeTarget(_ one: Case, in storage: any Storage) async throws -> BackupTarget {
        let head = HeadLastDevice(storage)
        if one.reuses {
            try await head.keepHead()
            let image = try await Qcow2File(head).open(forWriting: true, compression: one.compression)
            return BackupTarget(device: image, head: head, image: image, files: [])
        }
        var options = Qcow2Options(size: source.length)
        options.clusterBits = one.clusterBits
        let image = try await Qcow2Image.create(options, in: head, compression: one.compression)
        return BackupTarget(device: image, head: head, image: image, files: [])
    }

    private func backUp(_ one: Case, to target: BackupTarget) async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let job = try await BackupJob(
            source: source, target: target.device,
            configuration: .init(compress: one.compression != nil, copyRange: false, maxChunk: 65536),
            registry: JobRegistry())
        try await job.run(on: workers)
    }

    /// What the storage holds before the backup.
    private func makeStorage(_ one: Case) async throws -> MemoryDevice {
        let storage = MemoryDevice(name: "target", length: 0)
        guard one.reuses else { return storage }
        var options = Qcow2Options(size: source.length)
        options.clusterBits = one.clusterBits
        let image = try await Qcow2Image.create(options, in: storage)
        try await image.write(at: 0, bytes: [UInt8](repeating: 0xEE, count: Int(source.length)))
        try await image.close()
        return storage
    }

    /// Expects that the content is refused, complete, or what was there before.
    private func judge(_ content: SparseBytes, before: SparseBytes, _ comment: @autoclosure () -> Comment) async throws
    {
        let left = MemoryDevice(name: "left", length: 0)
        left.restore(content)
        guard let file = try? await Qcow2File(left) else { return }
        if content == before { return }
        let image = try await file.open()
        let isComplete = try await image.bytes(at: 0, count: Self.length) == source.snapshot.allBytes
        #expect(isComplete, comment())
        let problems = ImageCheck(content.allBytes).problems
        #expect(problems.isEmpty, "\(comment()): \(problems.prefix(3))")
    }

    @Test(arguments: cases) func anyMoment(one: Case) async throws {
        let storage = try await makeStorage(one)
        let before = storage.snapshot
        let watched = FaultInjectingDevice(storage)
        watched.startRecording(initial: before)
        let target = try await makeTarget(one, in: watched)
        try await backUp(one, to: target)
        try await target.finish()
        try Publication(files: target.newFiles).publish()
        let recording = try #require(watched.recording)
        #expect(recording.requests.count > 10)

        var random = SeededRandom(seed: 2)
        var content = before
        var pending: [RecordedRequest] = []
        for (number, request) in recording.requests.enumerated() {
            if request.isFlush {
                for request in pending { request.apply(to: &content) }
                pending = []
                try await judge(content, before: before, "after flush \(number)")
                continue
            }
            pending.append(request)
            for (kind, survivors) in Self.survivors(of: pending, using: &random) {
                var left = content
                for request in survivors { request.apply(to: &left) }
                try await judge(left, before: before, "after request \(number), \(kind)")
            }
        }
        #expect(pending.isEmpty, "the last request is a flush")
        try await judge(content, before: SparseBytes(length: 0), "at the end")
        #expect((try? await Qcow2File(storage)) != nil)
    }

    /// Which of the requests since the last flush may have reached the disk.
    private static func survivors(
        of pending: [RecordedRequest], using random: inout SeededRandom
    ) -> [(String, [RecordedRequest])] {
        var results = [("all", pending), ("only the last", resizes(in: pending.dropLast()) + pending.suffix(1))]
        for round in 0..<(isHeavyRun ? 20 : 4) {
            let some = pending.filter { request in
                if case .resize = request { return true }
                return Bool.random(using: &random)
            }
            results.append(("subset \(round)", some))
            results.append(("torn subset \(round)", some.flatMap { torn($0, using: &random) }))
        }
        return results
    }

    /// A file's length changes at once.
    private static func resizes(in requests: some Sequence<RecordedRequest>) -> [RecordedRequest] {
        requests.filter { request in
            if case .resize = request { return true }
            return false
        }
    }

    /// Some sectors of a write.
    private static func torn(_ request: RecordedRequest, using random: inout SeededRandom) -> [RecordedRequest] {
        guard case .write(let offset, let bytes) = request, offset % 512 == 0 else { return [request] }
        let sectors = stride(from: 0, to: bytes.count, by: 512).filter { _ in Bool.random(using: &random) }
        return sectors.map { start in
            .write(offset: offset + UInt64(start), bytes: Array(bytes[start..<min(start + 512, bytes.count)]))
        }
    }

    /// Where the end fails, whichever of its calls it is, nothing that opens is left behind.
    @Test(arguments: cases, [RequestKind.write, .flush]) func anyFailureAtTheEnd(one: Case, kind: RequestKind)
        async throws
    {
        for number in 1... {
            let storage = try await makeStorage(one)
            let watched = FaultInjectingDevice(storage)
            let target = try await makeTarget(one, in: watched)
            try await backUp(one, to: target)
            watched.setFaults([.call(watched.counts[kind, default: 0] + number, of: kind)])
            let calls = watched.counts[kind, default: 0]
            do {
                try await target.finish()
                try Publication(files: target.newFiles).publish()
                #expect(watched.counts[kind, default: 0] < calls + number, "an error went unnoticed")
                #expect(number > 1)
                return
            } catch {
                #expect((try? await Qcow2File(storage)) == nil, "call \(number)")
            }
        }
    }

    /// A cancelled backup that is never committed is never an image.
    @Test(arguments: cases) func uncommitted(one: Case) async throws {
        let storage = try await makeStorage(one)
        let target = try await makeTarget(one, in: storage)
        try await backUp(one, to: target)
        try await target.device.flush()
        #expect((try? await Qcow2File(storage)) == nil)
    }
}
