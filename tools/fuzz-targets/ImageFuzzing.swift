// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DiskChain
import FormatTestSupport
import Qcow2Format
import TestSupport

/// One image that may be anything.
///
/// What is read before a repair or a change of bitmaps, and from which place, must be the same afterwards.
struct ImageFuzzing {
    private let input: [UInt8]

    init(_ input: [UInt8]) {
        self.input = input
    }

    private var device: MemoryDevice { MemoryDevice(name: "image.qcow2", bytes: input) }

    func readHeader() async {
        for forInspection in [true, false] {
            guard let file = try? await Qcow2File(device, forInspection: forInspection) else { continue }
            _ = (file.facts, file.identity, file.dataFilePath, file.warnings)
            _ = try? await file.encryptionHeader()
            if let name = file.references.backingFileName { _ = try? BackingReference(name) }
        }
    }

    func readClusters() async {
        guard let image = await open(device, snapshot: nil) else { return }
        await read(image)
    }

    func readSnapshots() async {
        guard let file = try? await Qcow2File(device), let snapshots = try? await file.snapshots() else { return }
        for snapshot in snapshots.prefix(3) {
            if let image = await open(device, snapshot: snapshot.id) { await read(image) }
        }
    }

    /// Reads bitmaps, then changes them as an incremental backup and a person do.
    func changeBitmaps() async {
        let device = device
        guard let file = try? await Qcow2File(device), let stored = try? await file.openBitmaps() else { return }
        var names: [String] = []
        for bitmap in stored.list.prefix(8) {
            names.append(bitmap.name)
            _ = (stored.origin(of: bitmap.name), try? await stored.load(bitmap.name))
        }
        let before = await contents(of: device)
        guard let bitmaps = try? await file.openBitmaps(forWriting: true) else { return }
        let changes: [[BitmapChange]] =
            names.map { [.clear(name: $0), .setRecording(name: $0, false)] }
            + [[.add(name: "fuzzed", granularity: nil, isRecording: true)]]
            + names.suffix(1).map { [.merge(sources: [$0], into: "fuzzed"), .remove(name: $0)] }
        for change in changes { try? await bitmaps.apply(change) }
        try? await bitmaps.close()
        await expect(before, of: device, after: "a change of bitmaps")
    }

    /// Checks the image and repairs it, in one of the two ways, since repairs cost ten times all else.
    func repair() async {
        let device = device
        let before = await contents(of: device)
        let scope: RepairScope = input.last.map { $0 % 2 == 0 } ?? true ? .leaks : .all
        guard let outcome = try? await Qcow2Check(device).repair(scope, announce: { _ in }) else { return }
        await expect(before, of: device, after: "the repair of \(scope.rawValue)")
        require(
            !outcome.before.isClean || outcome.after.isClean, "the repair made a clean image \(outcome.after.problems)")
    }

    // MARK: What they share

    /// Reads and asks for block status here and there in the first part, the last and the middle of the disk.
    private func read(_ image: Qcow2Image) async {
        _ = try? await image.mappedExtents(at: 0, length: min(image.length, 4 << 20))
        for start in [0, image.length / 2, image.length - min(image.length, 64 << 10)] {
            let count = min(64 << 10, image.length - start)
            guard count > 0 else { continue }
            _ = try? await image.bytes(at: start, count: Int(count))
            var offset = start
            for _ in 0..<16 where offset < image.length {
                guard
                    let extent = try? await image.blockStatus(at: offset, length: image.length - offset, in: .chain)
                else { break }
                require(extent.length > 0 && extent.length <= image.length - offset, "a range outside the disk")
                offset += extent.length
            }
        }
    }

    private func open(_ device: MemoryDevice, snapshot: String?) async -> Qcow2Image? {
        guard let file = try? await Qcow2File(device) else { return nil }
        return try? await file.open(
            snapshot: snapshot, dataFile: file.references.hasExternalDataFile ? Self.dataFile : nil,
            backing: file.references.backingFileName == nil ? nil : Self.backing)
    }

    private static let dataFile = MemoryDevice(name: "data", bytes: [UInt8](repeating: 0xDD, count: 256 << 10))
    private static let backing = MemoryDevice(name: "backing", bytes: [UInt8](repeating: 0xBB, count: 256 << 10))

    private func contents(of device: MemoryDevice) async -> [[UInt8]?] {
        await ImageDamage.readable(device.snapshot, dataFile: Self.dataFile, backing: Self.backing)
    }

    private func expect(_ before: [[UInt8]?], of device: MemoryDevice, after change: String) async {
        let loss = ImageDamage.firstLoss(from: before, to: await contents(of: device))
        require(loss == nil, "\(change) changed what is read at \((loss ?? 0) * 4096)")
    }
}
