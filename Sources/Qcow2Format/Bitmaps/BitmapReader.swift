// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// Reads persistent bitmaps from an image file.
///
/// Bits are brought into memory a piece at a time, and stretches that are all zeroes or all ones without being read: what
/// a bitmap needs meanwhile is its own bits and its table.
struct BitmapReader: Sendable {
    let file: any Storage
    let layout: ImageLayout

    /// Bytes of bits that are read together, or a cluster where that is more.
    private static let pieceLength: UInt64 = 1 << 20

    private var clusterLength: UInt64 { layout.geometry.clusterLength }

    func failure(_ problem: Qcow2Error.Problem) -> BlockError {
        .layer(Qcow2Error(image: file.name, problem))
    }

    func shape(of entry: BitmapDirectoryEntry) -> BitmapShape {
        BitmapShape(diskLength: layout.size, granularityBits: entry.granularityBits, clusterLength: clusterLength)
    }

    /// Reads the directory.
    ///
    /// - Throws: `BlockError.layer` where any entry breaks a rule: an image whose directory is damaged has no bitmaps
    ///   that can be relied on.
    func directory(_ location: BitmapsExtension) async throws(BlockError) -> [BitmapDirectoryEntry] {
        // The length has been checked against the cap and the file.
        let bytes = try await file.contents(at: location.directoryOffset, count: Int(location.directoryLength))
        do throws(Qcow2Error.Problem) {
            return try BitmapDirectory.decode(
                bytes, count: location.count, diskLength: layout.size, clusterLength: clusterLength,
                fileLength: file.length)
        } catch {
            throw failure(error)
        }
    }

    /// Reads and checks a bitmap table.
    func table(of entry: BitmapDirectoryEntry) async throws(BlockError) -> [BitmapTableEntry] {
        // The size has been checked against the cap and the file.
        let bytes = try await file.contents(at: entry.tableOffset, count: Int(entry.tableSize) * 8)
        let fileLength = file.length
        var table: [BitmapTableEntry] = []
        table.reserveCapacity(Int(entry.tableSize))
        for index in 0..<Int(entry.tableSize) {
            // In bounds: the bytes are those of all entries.
            let value = UInt64(
                bigEndian: bytes.span.bytes.unsafeLoadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
            do throws(BitmapTableEntry.Defect) {
                table.append(
                    try BitmapTableEntry(rawValue: value, clusterLength: clusterLength, fileLength: fileLength))
            } catch {
                throw failure(entry.broken(Self.describe(error, value: value, index: index, fileLength: fileLength)))
            }
        }
        return table
    }

    private static func describe(
        _ defect: BitmapTableEntry.Defect, value: UInt64, index: Int, fileLength: UInt64
    ) -> String {
        let entry = "entry \(index) of its table (\(hex(value)))"
        return switch defect {
        case .reservedBits: "\(entry) has reserved bits set"
        case .notAligned: "\(entry) is not aligned to a cluster"
        case .pastEnd: "\(entry) leads past the end of the file (\(fileLength) bytes)"
        }
    }

    /// Loads the bits of a bitmap without a defect.
    ///
    /// - Complexity: O(n) in the clusters of bits that are stored; what is all zeroes or all ones costs its table entry.
    func load(_ entry: BitmapDirectoryEntry) async throws(BlockError) -> DirtyBitmap {
        if let defect = entry.defect { throw failure(.bitmapUnusable(name: entry.name, defect)) }
        let shape = shape(of: entry)
        let table = try await table(of: entry)
        var bitmap = emptyBitmap(shape)
        var buffer = AlignedBuffer(count: Int(max(Self.pieceLength, clusterLength)))
        var index = 0
        while index < table.count {
            let first = index
            switch table[first] {
            case .zeroes:
                index += 1
            case .ones:
                while index < table.count, table[index] == .ones { index += 1 }
                bitmap.set(shape.range(ofEntry: first).lowerBound..<shape.range(ofEntry: index - 1).upperBound)
            case .stored(let host):
                var count = 0
                while index < table.count, count + Int(clusterLength) <= buffer.count,
                    table[index] == .stored(HostOffset(host.bytes + UInt64(index - first) * clusterLength))
                {
                    count += shape.usedLength(ofEntry: index)
                    index += 1
                }
                guard host.bytes + UInt64(count) <= file.length else {
                    throw failure(
                        entry.broken(
                            "its bits at offset \(host.bytes) reach past the end of the file (\(file.length) bytes): "
                                + "the image is truncated"))
                }
                var target = buffer.mutablePrefix(count)
                try await file.read(at: host.bytes, into: &target)
                bitmap.replaceBits(from: UInt64(first) * shape.bitsPerCluster, with: buffer.prefix(count))
            }
        }
        return bitmap
    }

    /// A bitmap of a shape that has been checked, all clean.
    func emptyBitmap(_ shape: BitmapShape) -> DirtyBitmap {
        do throws(DirtyBitmapError) {
            return try DirtyBitmap(length: shape.diskLength, granularity: shape.granularity)
        } catch {
            preconditionFailure("granularities of images are allowed in memory: \(error)")
        }
    }
}
