// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import TestSupport
import Testing

@testable import BackupCore

/// Everything that keeps a job from being made, in the order in which it is checked: each row breaks its own rule and as
/// many of the later ones as can be. A refusal changes nothing: no bitmap is frozen, no device and no id is taken.
@Suite struct CreationOrderTests {
    enum BitmapKind: Sendable, CaseIterable {
        case usable, busy, inconsistent, readOnly, readOnlyAndBusy
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var number: Int
        var message: String
        var sync = SyncMode.full
        var bitmap: String?
        var mode: BitmapMode?
        var isSameNode = false
        var isCompressed = false
        var isSourceInUse = false
        var isTargetInUse = false
        var maxWorkers: Int?
        var maxChunk: UInt64?
        var targetLength = CreationTests.length
        var isClusterSizeKnown = true
        var id = "job0"
        var testDescription: String { "\(number): \(message)" }

        /// What comes after the rule of the row: all of it wrong.
        static func breaking(
            from number: Int, _ message: String, sync: SyncMode = .full, bitmap: String? = nil,
            mode: BitmapMode? = nil
        ) -> Row {
            Row(
                number: number, message: message, sync: sync, bitmap: bitmap, mode: mode,
                isSameNode: number <= 10, isCompressed: number <= 12, isSourceInUse: number <= 13,
                isTargetInUse: number <= 13, maxWorkers: number <= 14 ? 0 : nil,
                targetLength: number <= 17 ? 512 : CreationTests.length, isClusterSizeKnown: number > 18,
                id: number <= 19 ? "0 bad" : "job0")
        }
    }

    static let bitmapRows: [Row] = [
        Row.breaking(from: 2, "must provide a valid bitmap name for 'incremental' sync mode", sync: .incremental),
        Row.breaking(
            from: 2, "must provide a valid bitmap name for 'incremental' sync mode", sync: .incremental, mode: .never),
        Row.breaking(from: 2, "must provide a valid bitmap name for 'bitmap' sync mode", sync: .bitmap, mode: .always),
        Row.breaking(
            from: 3, "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'", sync: .incremental,
            bitmap: "missing", mode: .always),
        Row.breaking(
            from: 3, "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'", sync: .incremental,
            bitmap: "missing", mode: .never),
        Row.breaking(from: 4, "Bitmap 'missing' could not be found", sync: .bitmap, bitmap: "missing"),
        Row.breaking(from: 4, "Bitmap 'missing' could not be found", sync: .none, bitmap: "missing", mode: .never),
        Row.breaking(from: 4, "Bitmap 'backing' could not be found", sync: .incremental, bitmap: "backing"),
        Row.breaking(from: 5, "Bitmap sync mode must be given when providing a bitmap", sync: .bitmap, bitmap: "busy"),
        Row.breaking(from: 5, "Bitmap sync mode must be given when providing a bitmap", sync: .none, bitmap: "busy"),
        Row.breaking(from: 5, "Bitmap sync mode must be given when providing a bitmap", sync: .full, bitmap: "usable"),
        Row.breaking(
            from: 6, "Bitmap 'busy' is in use by another operation", sync: .none, bitmap: "busy", mode: .never),
        Row.breaking(
            from: 6, "Bitmap 'readOnlyAndBusy' is in use by another operation", sync: .top,
            bitmap: "readOnlyAndBusy", mode: .never),
        Row.breaking(
            from: 6, "Bitmap 'inconsistent' is inconsistent and unusable", sync: .incremental, bitmap: "inconsistent"),
        Row.breaking(
            from: 7, "sync mode 'none' does not produce meaningful bitmap outputs", sync: .none, bitmap: "readOnly",
            mode: .never),
        Row.breaking(
            from: 8, "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode 'full'",
            bitmap: "readOnly", mode: .never),
        Row.breaking(
            from: 8, "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode 'top'", sync: .top,
            bitmap: "usable", mode: .never),
        Row.breaking(from: 9, "Cannot specify bitmap sync mode without a bitmap", sync: .none, mode: .always),
        Row.breaking(from: 9, "Cannot specify bitmap sync mode without a bitmap", sync: .top, mode: .never),
    ]

    static let unknownClusterSize = """
        cannot determine the target's cluster size and it has no backing file: target: \
        \(CreationTests.ioError); without it the backup could be unusable
        """

    static let otherRows: [Row] = [
        Row.breaking(
            from: 10, "Source and target must be different nodes", sync: .bitmap, bitmap: "readOnly", mode: .always),
        Row.breaking(
            from: 12, "Target target does not support compressed writes", sync: .bitmap, bitmap: "readOnly",
            mode: .always),
        Row.breaking(
            from: 13, "Node 'source' is busy: block device is in use by block job: backup", sync: .bitmap,
            bitmap: "readOnly", mode: .always),
        Row(
            number: 13, message: "Node 'target' is busy: block device is in use by block job: backup",
            bitmap: "readOnly", mode: .always, isTargetInUse: true, maxWorkers: 0, id: "0 bad"),
        Row.breaking(
            from: 14, "max-workers must be at least 1, not 0", sync: .bitmap, bitmap: "readOnly", mode: .always),
        Row.breaking(
            from: 15, "Bitmap 'readOnly' is readonly and cannot be modified", sync: .bitmap, bitmap: "readOnly",
            mode: .always),
        Row.breaking(
            from: 15, "Bitmap 'readOnly' is readonly and cannot be modified", sync: .incremental, bitmap: "readOnly"),
        // A bitmap that is not to be changed may be read-only.
        Row.breaking(
            from: 17, "Source and target have different lengths: 1048576 and 512 bytes", sync: .bitmap,
            bitmap: "readOnly", mode: .never),
        Row.breaking(
            from: 18,
            unknownClusterSize, sync: .bitmap, bitmap: "usable", mode: .always),
        Row.breaking(from: 19, "Malformed job ID '0 bad'", sync: .bitmap, bitmap: "usable", mode: .always),
        Row(number: 19, message: "Job ID 'taken' already in use", bitmap: "usable", mode: .onSuccess, id: "taken"),
    ]

    @Test(arguments: bitmapRows + otherRows)
    func refuses(_ row: Row) async throws {
        let backing = GuestDevice(CreationTests.disk("backing"))
        try await backing.addBitmap("backing")
        let source = GuestDevice(CreationTests.disk("source", compresses: false))
        try await Self.addBitmaps(to: source)
        let target: any BlockDevice =
            row.isSameNode
            ? source
            : CreationTests.disk(
                "target", length: row.targetLength, compresses: !row.isCompressed,
                clusterSize: row.isClusterSizeKnown ? .success(65536) : .failure(CreationTests.ioError))
        let registry = JobRegistry()
        var others = [
            try await BackupJob(
                id: "taken", source: CreationTests.disk("other"), target: CreationTests.disk("another"),
                configuration: .init(), registry: registry)
        ]
        if row.isSourceInUse {
            others.append(try await Self.user(of: source, id: "user1", registry))
        }
        if row.isTargetInUse, !row.isSameNode {
            others.append(try await Self.user(of: target, id: "user2", registry, length: row.targetLength))
        }
        var configuration = BackupJob.Configuration(
            sync: row.sync, compress: row.isCompressed, maxWorkers: row.maxWorkers, maxChunk: row.maxChunk)
        configuration.bitmap = row.bitmap
        configuration.bitmapMode = row.mode
        let before = source.withBitmaps { $0.infos }
        let wasInUse = [registry.isInUse(source), registry.isInUse(target)]
        do {
            _ = try await BackupJob(
                id: row.id, source: source, target: target, configuration: configuration, registry: registry)
            Issue.record("a job was made")
        } catch {
            #expect(error.description == row.message)
        }
        #expect(source.withBitmaps { $0.infos } == before)
        #expect([registry.isInUse(source), registry.isInUse(target)] == wasInUse)
        if row.id == "job0" {
            // The id is still free.
            _ = try await BackupJob(
                id: "job0", source: CreationTests.disk("x"), target: CreationTests.disk("y"), configuration: .init(),
                registry: registry)
        }
        withExtendedLifetime(others) {}
    }

    /// How a target can lie behind the source.
    enum Behind: CaseIterable {
        case directly, furtherDown, asGuestDevice, asGuestDeviceOfTheSource
    }

    /// The last rule: who backs up into the source's own chain would read what he has just written.
    @Test(arguments: Behind.allCases) func refusesTargetsBehindTheSource(_ behind: Behind) async throws {
        let length = UInt64(CreationTests.length)
        let disk = MemoryDevice(name: "base", length: length)
        let guest = GuestDevice(disk)
        let base: any BlockDevice = behind == .asGuestDeviceOfTheSource ? guest : disk
        let middle = MemoryDevice(name: "middle", length: length, backing: behind == .furtherDown ? base : nil)
        let top = MemoryDevice(name: "top", length: length, backing: behind == .furtherDown ? middle : base)
        let target: any BlockDevice = behind == .asGuestDevice ? guest : disk
        let source = GuestDevice(top)
        try await source.addBitmap("b")
        let registry = JobRegistry()
        var configuration = BackupJob.Configuration(sync: .bitmap)
        (configuration.bitmap, configuration.bitmapMode) = ("b", .always)
        let before = source.withBitmaps { $0.infos }
        await #expect {
            try await BackupJob(
                id: "job0", source: source, target: target, configuration: configuration, registry: registry)
        } throws: {
            "\($0)" == "Permission conflict on node 'base': it is part of the source's backing chain, which others read"
        }
        #expect(source.withBitmaps { $0.infos } == before)
        #expect(!registry.isInUse(source) && !registry.isInUse(target))
        _ = try await BackupJob(
            id: "job0", source: source, target: CreationTests.disk("elsewhere"), configuration: configuration,
            registry: registry)
    }

    private static func user(
        of device: any BlockDevice, id: String, _ registry: JobRegistry, length: Int = CreationTests.length
    ) async throws -> BackupJob {
        try await BackupJob(
            id: id, source: device, target: CreationTests.disk("elsewhere", length: length), configuration: .init(),
            registry: registry)
    }

    static func addBitmaps(to device: GuestDevice) async throws {
        for kind in BitmapKind.allCases {
            let name = "\(kind)"
            let bits = try DirtyBitmap(length: device.length, granularity: 65536)
            var bitmap = try NamedBitmap(
                name: name, bits: bits, isReadOnly: kind == .readOnly || kind == .readOnlyAndBusy,
                isInconsistent: kind == .inconsistent)
            if kind == .busy || kind == .readOnlyAndBusy { try bitmap.beginUse() }
            let made = bitmap
            try device.withBitmaps { (bitmaps) throws(DirtyBitmapError) in try bitmaps.add(made) }
        }
    }

    // MARK: Modes that are accepted

    static let accepted: [(SyncMode, BitmapMode?)] = [
        (.bitmap, .never), (.bitmap, .onSuccess), (.bitmap, .always), (.incremental, .onSuccess), (.incremental, nil),
        (.full, .onSuccess), (.full, .always), (.top, .onSuccess), (.top, .always),
    ]

    @Test(arguments: accepted)
    func freezesTheBitmapUntilTheJobIsGivenUp(sync: SyncMode, mode: BitmapMode?) async throws {
        let source = GuestDevice(CreationTests.disk("source"))
        let target = CreationTests.disk("target")
        try await source.addBitmap("b", granularity: 4096)
        let registry = JobRegistry()
        var configuration = BackupJob.Configuration(sync: sync)
        configuration.bitmap = "b"
        configuration.bitmapMode = mode
        let before = source.withBitmaps { $0.infos }
        var job: BackupJob? = try await BackupJob(
            id: "job0", source: source, target: target, configuration: configuration, registry: registry)
        #expect(source.withBitmaps { $0.infos[0].isBusy && $0.infos[0].isRecording })
        #expect(registry.isInUse(source) && registry.isInUse(target) && job?.state == .created)
        // Dropped, or cancelled: the same.
        if mode == .always { job?.cancel() } else { job = nil }
        #expect(source.withBitmaps { $0.infos } == before)
        #expect(!registry.isInUse(source) && !registry.isInUse(target))
        _ = try await BackupJob(
            id: "job0", source: source, target: target, configuration: configuration, registry: registry)
    }

    static let goodIDs: [String] = ["a", "Drive0", "x-1._Z"]
    static let badIDs: [String] = ["", "1a", "-a", "_a", "a b", "a/b", "ä", "aä"]

    @Test(arguments: goodIDs + badIDs)
    func ids(id: String) async throws {
        let isWellFormed = Self.goodIDs.contains(id)
        do {
            _ = try await BackupJob(
                id: id, source: CreationTests.disk("x"), target: CreationTests.disk("y"), configuration: .init())
            #expect(isWellFormed)
        } catch {
            #expect(!isWellFormed && error.description == "Malformed job ID '\(id)'")
        }
    }
}
