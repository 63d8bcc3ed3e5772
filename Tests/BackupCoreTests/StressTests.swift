// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupCore

/// One writer hammers a disk of real files while it is backed up again and again, to real images: each image is what the
/// disk held when its job started.
@Suite(.timeLimit(.minutes(5))) struct StressTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var isCompressed: Bool
        /// Whether the disk is a qcow2 overlay that is backed up alone, and not a raw file.
        var isTop: Bool
        var testDescription: String {
            "\(isTop ? "top" : "full, then incremental")\(isCompressed ? ", compressed" : "")"
        }
    }

    static let cases = [false, true].flatMap { isTop in
        [false, true].map { Case(isCompressed: $0, isTop: isTop) }
    }

    static let length = (isHeavyRun ? 256 : 24) << 20 + 4608
    static let rounds = isHeavyRun ? 6 : 3

    @Test(arguments: cases)
    func imagesHoldTheirPointInTime(_ test: Case) async throws {
        let directory = try TemporaryDirectory()
        let base = try Self.file("base.raw", in: directory)
        try await base.resize(to: UInt64(Self.length))
        try await Self.fill(base)
        let disk: any BlockDevice =
            test.isTop
            ? try await Qcow2Image.create(
                Self.options(backedBy: "base.raw", .raw), in: Self.file("overlay.qcow2", in: directory), backing: base)
            : base
        let guest = GuestDevice(disk)
        try await guest.addBitmap("b", granularity: 65536)
        let workers = WorkerThreads(count: 4)
        defer { workers.stop() }
        let isOver = Locked(false)
        let writer = Task(executorPreference: workers) {
            try await Self.hammer(guest, until: { isOver.withLock { $0 } })
        }
        var below: any BlockDevice = base
        var belowName = "base.raw"
        for round in 0..<Self.rounds {
            let name = "backup\(round).qcow2"
            var configuration = BackupJob.Configuration(compress: test.isCompressed)
            var options = Qcow2Options(size: UInt64(Self.length))
            var backing: (any BlockDevice)?
            if test.isTop {
                configuration.sync = .top
                (options, backing) = (Self.options(backedBy: "base.raw", .raw), base)
            } else {
                configuration.sync = round == 0 ? .full : .incremental
                configuration.bitmap = "b"
                configuration.bitmapMode = .onSuccess
                if round > 0 { (options, backing) = (Self.options(backedBy: belowName, .qcow2), below) }
            }
            let target = try await Qcow2Image.create(
                options, in: Self.file(name, in: directory), backing: backing,
                compression: test.isCompressed ? CompressionSettings() : nil)
            let job = try await BackupJob(source: guest, target: target, configuration: configuration)
            await guest.beginDrain()
            let expected = try await disk.bytes(at: 0, count: Self.length)
            try job.begin()
            job.workInBackground(on: workers, threads: workers.count)
            guest.endDrain()
            try await job.wait()
            #expect(job.progress.offset == job.progress.length)
            try await target.close()

            let stored = try LocalStorage.open(directory.file(name).string, access: .readOnly, lock: nil)
            let image = try await Qcow2File(stored).open(backing: backing)
            let found = try await image.bytes(at: 0, count: Self.length)
            #expect(haveSameBytes(found, expected), "round \(round)")
            (below, belowName) = (image, name)
        }
        isOver.withLock { $0 = true }
        #expect(try await writer.value > 10)
    }

    private static func file(_ name: String, in directory: TemporaryDirectory) throws -> any Storage {
        try LocalStorage.open(directory.file(name).string, access: .create, lock: nil)
    }

    private static func options(backedBy name: String, _ format: ImageFormat) -> Qcow2Options {
        var options = Qcow2Options(size: UInt64(length))
        options.backingFileName = name
        options.backingFormat = format.rawValue
        return options
    }

    /// Half of it data, in runs of a megabyte.
    private static func fill(_ file: any Storage) async throws {
        for start in stride(from: 0, to: length, by: 2 << 20) {
            let count = min(1 << 20, length - start)
            let bytes = ImageModel.noise(count: count, from: start)
            try await file.write(at: UInt64(start), from: bytes.span.bytes)
        }
    }

    /// - Returns: number of requests made.
    private static func hammer(_ guest: GuestDevice, until isOver: () -> Bool) async throws -> Int {
        var random = SeededRandom(seed: 11)
        let noise = ImageModel.noise(count: 256 << 10, from: 12345)
        var requests = 0
        while !isOver() {
            let sectors = Int.random(in: 1...(Bool.random(using: &random) ? 16 : 512), using: &random)
            let offset = UInt64(Int.random(in: 0...(length / 512 - sectors), using: &random)) * 512
            let bytes = noise.span.bytes.extracting(0..<sectors * 512)
            if requests % 8 == 0 {
                try await guest.writeZeroes(at: offset, length: UInt64(sectors * 512))
            } else {
                try await guest.write(at: offset, from: bytes)
            }
            requests += 1
        }
        return requests
    }
}
