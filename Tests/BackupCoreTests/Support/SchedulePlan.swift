// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport

@testable import BackupCore

/// What a seed decides about a schedule beforehand.
struct SchedulePlan: Sendable {
    struct Bitmap: Sendable {
        var granularity: UInt64
        var dirty: [Range<UInt64>]
        var isRecording: Bool
    }

    /// The nth call of a kind goes wrong: reads and block status of the source, everything else of the target.
    struct Fault: Sendable {
        enum Kind: Sendable, Equatable {
            case error(Errno)
            /// Takes its time: longer than anyone waits, but not for ever.
            case hang
        }

        static let operations: [TestDisk.Operation] = [
            .read, .blockStatus, .write, .writeZeroes, .copyRange, .writeCompressed,
        ]

        var operation: TestDisk.Operation
        var call: Int
        var kind: Kind

        var isOnSource: Bool { operation == .read || operation == .blockStatus }
    }

    static let filler: UInt8 = 0xEE

    var image: TestImage
    var configuration: BackupJob.Configuration
    var bitmap: Bitmap?
    var targetCluster: UInt64
    var faults: [Fault]
    var threads: Int
    var guestRequests: Int
    var verbs: Int
    var cancels: Bool
    var cancelsBeforeStart: Bool

    init(seed: UInt64) {
        var random = SeededRandom(seed: seed &+ 0xABCD)
        let sectors = Int.random(in: 1...8, using: &random) * 128 + Int.random(in: 0..<128, using: &random)
        image = TestImage(length: sectors * 512, seed: seed)
        targetCluster = random.pick([0, 512, 4096, 65536, 131_072])
        threads = Int.random(in: 1...3, using: &random)
        guestRequests = Int.random(in: 0...12, using: &random)
        verbs = Int.random(in: 0...10, using: &random)
        cancels = Int.random(in: 0..<3, using: &random) == 0
        cancelsBeforeStart = Int.random(in: 0..<25, using: &random) == 0
        configuration = Self.configuration(&random)
        let length = UInt64(sectors * 512)
        bitmap = configuration.bitmap == nil ? nil : Self.bitmap(length, &random)
        let faultCount: Int = random.pick([0, 0, 1, 2, 4])
        faults = []
        for _ in 0..<faultCount { faults.append(Self.fault(&random)) }
    }

    private static func configuration(_ random: inout SeededRandom) -> BackupJob.Configuration {
        let chunks: [UInt64?] = [nil, 131_072, 262_144]
        var configuration = BackupJob.Configuration(
            sync: random.pick(SyncMode.allCases), compress: Bool.random(using: &random),
            copyRange: Bool.random(using: &random), maxWorkers: Int.random(in: 1...4, using: &random),
            maxChunk: random.pick(chunks))
        let modes: [BitmapMode?] =
            switch configuration.sync {
            case .none: [nil]
            case .incremental: [.onSuccess]
            case .bitmap: [.never, .onSuccess, .always]
            case .full, .top: [nil, .onSuccess, .always]
            }
        configuration.bitmapMode = random.pick(modes)
        if configuration.bitmapMode != nil { configuration.bitmap = "b" }
        configuration.speed = random.pick([0, 0, 1 << 18, 1 << 22])
        configuration.onSourceError = random.pick(ErrorPolicy.allCases)
        configuration.onTargetError = random.pick(ErrorPolicy.allCases)
        let tries: [Int?] = [nil, nil, 1, 2]
        configuration.sourceTries = random.pick(tries)
        configuration.autoFinalize = Int.random(in: 0..<4, using: &random) != 0
        configuration.autoDismiss = Bool.random(using: &random)
        return configuration
    }

    private static func bitmap(_ length: UInt64, _ random: inout SeededRandom) -> Bitmap {
        var bitmap = Bitmap(
            granularity: random.pick([512, 4096, 65536, 1 << 20]), dirty: [],
            isRecording: Int.random(in: 0..<6, using: &random) != 0)
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let start = UInt64.random(in: 0..<length, using: &random)
            let end = min(length, start + UInt64.random(in: 1...100_000, using: &random))
            bitmap.dirty.append(start..<end)
        }
        return bitmap
    }

    private static func fault(_ random: inout SeededRandom) -> Fault {
        let operation = random.pick(Fault.operations)
        return Fault(
            operation: operation, call: Int.random(in: 1...8, using: &random),
            kind: random.pick([.error(.noSpace), .error(.ioError), .hang]))
    }

    /// Whether the source fails to say what its top layer holds.
    var hidesAllocation: Bool {
        configuration.sync == .top && faults.contains { $0.operation == .blockStatus && $0.kind != .hang }
    }

    func makeSource(_ clock: ManualClock) -> TestDisk {
        let disk = TestDisk(
            name: "source", bytes: image.bytes, layout: image.layout,
            storage: configuration.copyRange ? TestStorage(image.bytes) : nil, onCall: Self.step)
        for fault in faults where fault.isOnSource { Self.add(fault, to: disk, clock) }
        return disk
    }

    func makeTarget(_ clock: ManualClock) -> TestDisk {
        let disk = TestDisk(
            name: "target", bytes: [UInt8](repeating: Self.filler, count: image.bytes.count),
            capabilities: DeviceCapabilities(
                isReadOnly: false, canWriteCompressed: true, canCopyRange: configuration.copyRange),
            clusterSize: .success(targetCluster), onCall: Self.step)
        for fault in faults where !fault.isOnSource { Self.add(fault, to: disk, clock) }
        return disk
    }

    private static func add(_ fault: Fault, to disk: TestDisk, _ clock: ManualClock) {
        switch fault.kind {
        case .error(let errno): disk.fail(fault.operation, call: fault.call, with: errno)
        case .hang: disk.hang(fault.operation, call: fault.call) { await clock.sleep(.seconds(30)) }
        }
    }

    /// Other steps may come before any call of a device does its work.
    private static func step(_ call: TestDisk.Call) async {
        await Task.yield()
    }
}
