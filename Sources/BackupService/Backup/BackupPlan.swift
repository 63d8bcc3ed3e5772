// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DirtyBitmaps
import DiskChain
import Qcow2Format

/// What a run does, after what it found has been considered.
struct BackupPlan: Sendable {
    let source: OpenedDisk
    private(set) var sync: SyncMode
    private(set) var bitmap: SourceBitmap?
    private(set) var parent: ParentChain?
    /// What the bitmap says for the job; for an increment, what it must hold.
    private var bits: DirtyBitmap?

    /// How the image is laid out whose place the target takes; `nil` where that doesn't count.
    let layout: Qcow2Options?

    /// How much of what is read is proven meanwhile; `nil` where that is not asked for.
    let proof: BackupSummary.Proof?
    private let device: any BlockDevice
    /// Parts of the disk that are lost and read as zeroes, where the run goes on without what can't be read.
    var lostPadding: [Range<UInt64>] = []

    init(source: OpenedSource, sync: SyncMode) {
        self.source = source.disk
        self.sync = sync
        layout = source.layout
        proof = source.proof?.extent
        device = source.device
    }

    /// Works by a bitmap, or has it start anew.
    mutating func use(_ bitmap: SourceBitmap) {
        self.bitmap = bitmap
        bits = bitmap.bits
        if bitmap.fallback != nil { sync = .full }
    }

    /// Makes a full backup instead of an increment, because of what the increment was to go on.
    mutating func fallBack(because reason: String) {
        guard let bitmap else { preconditionFailure("an increment is made by a bitmap") }
        use(bitmap.startedAnew(because: reason))
    }

    /// Makes an increment of a backup, once it is certain enough that the bitmap counts from there.
    ///
    /// - Parameter trustsChain: take the parent for what it is named, whatever it says or holds.
    mutating func put(
        on parent: ParentChain, trustsChain: Bool, warn: (String) -> Void
    ) async throws(ServiceError) {
        guard let bitmap else { preconditionFailure("an increment is made by a bitmap") }
        parent.disk.warnings.forEach(warn)
        let strangerCount = trustsChain ? 0 : try strangers(in: parent, for: bitmap)
        try parent.checkLength(warn: warn)
        self.parent = parent
        var difference: UInt64?
        try await translated { () async throws(BlockError) in
            let content = try await IncrementContent(source: source.device, parent: parent.disk.device)
                .find(from: bitmap.bits)
            bits = content.bits
            // What the increment holds need not be the same.
            var marked = bitmap.bits
            marked.formUnion(content.bits)
            let check = ParentCheck(source: source.device, parent: parent.disk.device, bits: marked)
            if strangerCount > 0 { difference = try await check.firstDifference(inLayersAbove: strangerCount) }
            // What QEMU allocates in advance may hold what was there before, and nothing marks that.
            if !trustsChain, difference == nil {
                difference = try await check.firstDifference(before: content.unmarkedEnd)
            }
            if !trustsChain, difference == nil { difference = try await check.firstDifference() }
        }
        if let difference {
            throw Self.otherParent(
                parent, bitmap.name,
                ": at offset \(difference) the disk differs from it, and the bitmap says that nothing changed there")
        }
    }

    /// The parent must be the backup since which the bitmap counts, or a later one of the same disk, as far as is known.
    ///
    /// - Returns: how many of its layers are neither: what they hold must be what the disk holds where the bitmap doesn't
    ///   mark it, unless the disk was rolled back since, with the bitmap and what it says.
    private func strangers(in parent: ParentChain, for bitmap: SourceBitmap) throws(ServiceError) -> Int {
        try parent.disk.checkLinks()
        let identities = parent.disk.layers.map(\.identity)
        // Nothing is known: what lies over the lowest layer is little.
        guard let origin = bitmap.origin?.backup else { return identities.count - 1 }
        let known = [origin] + bitmap.laterBackups
        for (index, identity) in identities.enumerated() {
            if let id = identity?.id, known.contains(id) { return index }
            if let id = identity?.parent?.id, known.contains(id) { return index + 1 }
        }
        guard identities[0] == nil else { throw Self.otherParent(parent, bitmap.name, "") }
        return identities.count - 1
    }

    private static func otherParent(_ parent: ParentChain, _ bitmap: String, _ reason: String) -> ServiceError {
        ServiceError(
            .inconsistent,
            "\(parent.disk.layers[0].path) is not the backup from which bitmap '\(bitmap)' counts\(reason)",
            advice:
                "-b names the backup that the bitmap was cleared for, or one that is based on it; --sync=full starts a "
                + "new chain; --trust-chain takes it as it is")
    }

    /// What the job reads: with a bitmap, a disk that has it.
    func makeJobSource() throws(ServiceError) -> any BlockDevice {
        guard let bitmap, let bits else { return device }
        let guest = GuestDevice(device)
        do throws(DirtyBitmapError) {
            let named = try NamedBitmap(name: bitmap.name, bits: bits)
            try guest.withBitmaps { (bitmaps) throws(DirtyBitmapError) in try bitmaps.add(named) }
        } catch {
            throw ServiceError(.usage, "\(error)")
        }
        return guest
    }

    /// What the job left dirty in the bitmap; `nil` without one.
    func dirty(in jobSource: any BlockDevice) -> DirtyBitmap? {
        guard let bitmap, let guest = jobSource as? GuestDevice else { return nil }
        return guest.withBitmaps { $0.find(bitmap.name)?.bits }
    }

    /// Ends the use of the source's bitmaps, whatever the run came to.
    ///
    /// - Throws: `ServiceError` with the code `bitmapNotUpdated` where the source's storage takes the change back.
    func close(target: String, warn: (String) -> Void) async throws(ServiceError) {
        try await Cancellation.ignoring { () async throws(ServiceError) in
            try await bitmap?.close(target: target, warn: warn)
        }
    }

    var bitmapSummary: BitmapSummary? {
        guard let bitmap else { return nil }
        let isUnchanged =
            sync.isIncrement && bits?.isEmpty == true && parent?.disk.device.length == source.device.length
        return BitmapSummary(
            name: bitmap.name, mode: bitmap.mode, parent: parent?.path, fallback: bitmap.fallback,
            isUnchanged: isUnchanged, update: bitmap.mode == .never ? nil : .done)
    }
}

/// The disk that a run copies.
struct OpenedSource: Sendable {
    let disk: OpenedDisk
    /// How the image is laid out whose place the target takes; `nil` where that doesn't count.
    var layout: Qcow2Options?
    /// What proves the disk while it is read; `nil` for a disk that is no backup, or is not to be proven.
    var proof: ChainProof?

    /// What is read.
    var device: any BlockDevice { proof?.device ?? disk.device }
}
