// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// One layer of a chain, asked from front to back for what it holds itself.
///
/// Used by one task. Keeps what one piece of a table says, so that memory doesn't grow with the disk.
final class MapLayer {
    private let device: any BlockDevice
    /// `nil` for a raw disk.
    private let image: Qcow2Image?
    private let storage: (any Storage)?
    /// Whether the image's clusters may lie in holes of its file, where they read as zeroes.
    private let looksForHoles: Bool
    /// What comes next, from `start` on.
    private var extents: ArraySlice<BlockExtent> = []
    private var start: UInt64 = 0

    var length: UInt64 { device.length }

    init(_ device: any BlockDevice, looksForHoles: Bool) {
        self.device = device
        image = device as? Qcow2Image
        storage = (device as? SectorDisk)?.storage
        self.looksForHoles = looksForHoles
    }

    /// The layers of a disk, the top one first.
    static func layers(of disk: OpenedDisk) async -> [MapLayer] {
        var layers: [MapLayer] = []
        var device: (any BlockDevice)? = disk.device
        for layer in disk.layers {
            guard let current = device else { break }
            layers.append(MapLayer(current, looksForHoles: await layer.seemsPreallocated()))
            device = current.backing
        }
        return layers
    }

    /// What the layer says of the bytes from `position` on, which lies on its disk.
    ///
    /// - Returns: a run of at most `length` bytes, as if there were no other layer.
    func entry(at position: UInt64, length: UInt64) async throws(BlockError) -> MapEntry {
        while let first = extents.first, position >= start, position - start >= first.length {
            start += first.length
            extents = extents.dropFirst()
        }
        if extents.isEmpty || position < start {
            extents = try await fetch(at: position)[...]
            start = position
        }
        guard let extent = extents.first else {
            throw .outOfRange(device: device.name, offset: position, length: length, deviceLength: device.length)
        }
        let inside = position - start
        var entry = MapEntry(
            start: position, length: min(extent.length - inside, length), isPresent: extent.isAllocated,
            isZero: extent.readsAsZero, isData: extent.isAllocated && !extent.readsAsZero,
            isCompressed: extent.isCompressed)
        if let location = extent.location {
            entry.offset = location.offset + inside
            entry.file = location.device.name
            if looksForHoles, entry.isData {
                try await lookForHole(in: location.device, at: location.offset + inside, &entry)
            }
        }
        return entry
    }

    private func fetch(at position: UInt64) async throws(BlockError) -> [BlockExtent] {
        let rest = device.length - position
        if let image { return try await image.mappedExtents(at: position, length: rest) }
        var extent = try await device.blockStatus(at: position, length: rest, in: .topLayer)
        // A hole of a raw disk is a place in its file all the same.
        if let storage { extent.location = StorageLocation(device: storage, offset: position) }
        return [extent]
    }

    /// Says of data that lies in a hole of the file that it reads as zeroes.
    private func lookForHole(
        in file: any Storage, at offset: UInt64, _ entry: inout MapEntry
    ) async throws(BlockError) {
        guard offset < file.length else {
            entry.isZero = true
            return
        }
        let inFile = min(entry.length, file.length - offset)
        let below = try await file.blockStatus(at: offset, length: inFile, in: .topLayer)
        entry.isZero = below.readsAsZero
        // What follows a hole at the end of the file reads as zeroes like the hole.
        if !(below.readsAsZero && below.length == inFile && inFile < entry.length) { entry.length = below.length }
    }
}
