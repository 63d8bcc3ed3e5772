// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps
import DiskChain
import Qcow2Format

/// One run of the map command.
///
/// Memory doesn't grow with the disk: entries are handed on as they are found.
package struct MapOperation: Sendable {
    private let request: MapRequest
    private let warn: @Sendable (String) -> Void

    /// Entries that are handed on together.
    private static let batchCount = 512
    /// Cells of all layers of a picture: some 25 MB.
    private static let maximumCells = 250_000

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    package init(_ request: MapRequest, warn: @escaping @Sendable (String) -> Void) {
        self.request = request
        self.warn = warn
    }

    /// Lists how the disk is stored.
    ///
    /// - Parameter emit: called with entries in the order of the disk, until it says that it wants no more.
    /// - Throws: `ServiceError`; entries that were found before it have been handed on.
    package func run(emit: @escaping @Sendable ([MapEntry]) -> Bool) async throws(ServiceError) {
        try await Inspection.run { () async throws(ServiceError) in
            let disk = try await open()
            try await translated { () async throws(BlockError) in
                try await list(disk, emit)
            }
        }
    }

    private func list(_ disk: OpenedDisk, _ emit: ([MapEntry]) -> Bool) async throws(BlockError) {
        let end = request.length.flatMap { request.start.adding($0) } ?? disk.device.length
        var walker = MapWalker(await MapLayer.layers(of: disk), range: request.start..<max(end, request.start))
        var batch: [MapEntry] = []
        do throws(BlockError) {
            while let entry = try await walker.next() {
                batch.append(entry)
                if batch.count == Self.batchCount {
                    guard emit(batch) else { return }
                    batch.removeAll(keepingCapacity: true)
                }
            }
        } catch {
            _ = emit(batch)
            throw error
        }
        _ = emit(batch)
    }

    /// Draws the disk and its chain.
    ///
    /// - Parameters:
    ///   - bands: parts that the disk is cut into, each a row for each layer.
    ///   - columns: cells of a row.
    ///   - bitmap: name of a persistent bitmap of the top layer to show.
    package func picture(bands: Int, columns: Int, bitmap: String? = nil) async throws(ServiceError) -> MapPicture {
        try await Inspection.run { () async throws(ServiceError) in
            let disk = try await open()
            if bitmap != nil { _ = try disk.layers[0].imageWithBitmaps() }
            return try await translated { () async throws(BlockError) in
                try await draw(disk, bands: bands, columns: columns, bitmap: bitmap)
            }
        }
    }

    private func draw(
        _ disk: OpenedDisk, bands: Int, columns: Int, bitmap: String?
    ) async throws(BlockError) -> MapPicture {
        var bits: DirtyBitmap?
        if let bitmap, let image = disk.layers[0].image { bits = try await image.openBitmaps().load(bitmap) }
        let layers = await MapLayer.layers(of: disk)
        let mostBands = max(1, Self.maximumCells / (columns * layers.count))
        if bands > mostBands {
            warn("the picture of \(layers.count) layers has \(mostBands) rows for each, not \(bands)")
        }
        let bands = min(bands, mostBands)
        let names = zip(disk.layers, layers).map {
            MapPicture.Layer(path: $0.path, format: $0.format, length: $1.length)
        }
        var picture = MapPicture(length: disk.device.length, bands: bands, columns: columns, layers: names)
        for (depth, layer) in layers.enumerated() where layer.length > 0 {
            var walker = MapWalker([layer], range: 0..<min(layer.length, picture.length))
            while let entry = try await walker.next() { picture.add(entry, ofLayer: depth) }
        }
        if picture.length > 0 {
            var walker = MapWalker(layers, range: 0..<picture.length)
            while let entry = try await walker.next() { picture.addShown(entry) }
        }
        if let bitmap, let bits {
            picture.bitmap = bitmap
            var next: UInt64 = 0
            while let area = bits.nextDirtyArea(from: next) {
                picture.addDirty(area)
                next = area.upperBound
            }
        }
        return picture
    }

    private func open() async throws(ServiceError) -> OpenedDisk {
        try await Inspection.open(
            request.image, format: request.format, backingFormat: request.backingFormat, snapshot: request.snapshot,
            forceShare: request.forceShare, warn: warn)
    }
}

/// What to map of which disk.
package struct MapRequest: Sendable {
    package var image: String
    /// `nil` recognises it.
    package var format: ImageFormat?
    /// Format of backing files that record none; `nil` refuses them.
    package var backingFormat: ImageFormat?
    /// Name or id of the internal snapshot to map instead of the active state.
    package var snapshot: String?
    /// First byte of the disk.
    package var start: UInt64 = 0
    /// In bytes; `nil` for up to the end of the disk.
    package var length: UInt64?
    /// Read although another process writes to the image.
    package var forceShare = false

    package init(image: String) {
        self.image = image
    }
}
