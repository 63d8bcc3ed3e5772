// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension CheckRun {
    /// Ends of what bitmaps fill are looked at where references are counted.
    private static let noLimit: UInt64 = 1 << 62

    /// Finds the bitmap directory, tables and bits. Bitmaps that are not valid any more have none.
    func gatherBitmaps() async throws(BlockError) {
        guard header.hasBitmaps else { return }
        func give(up problem: Qcow2Error.Problem, at offset: UInt64? = nil) {
            hasLostReferences = true
            hasBrokenBitmaps = true
            log.note(.bitmap, .unchecked, "bitmaps", at: offset, "\(problem)")
        }
        let all = header.extensions.filter { $0.type == HeaderExtension.bitmaps }
        if all.count > 1 {
            log.note(
                .bitmap, .warning, "bitmaps", "their header extension comes \(all.count) times, and the last counts")
        }
        guard let data = all.last?.data else { return }
        let location: BitmapsExtension
        let entries: [BitmapDirectoryEntry]
        do throws(Qcow2Error.Problem) {
            location = try BitmapsExtension(decoding: data, clusterLength: clusterLength, fileLength: reader.length)
        } catch {
            return give(up: error)
        }
        let bytes = try await reader.bytes(at: location.directoryOffset, count: Int(location.directoryLength))
        add(.bitmapDirectory, offset: location.directoryOffset, length: location.directoryLength)
        do throws(Qcow2Error.Problem) {
            entries = try BitmapDirectory.decode(
                bytes, count: location.count, diskLength: layout.size, clusterLength: clusterLength,
                fileLength: Self.noLimit)
        } catch {
            return give(up: error, at: location.directoryOffset)
        }
        // Tables that lie apart are not longer than the file together.
        var rest = reader.length
        for entry in entries {
            let length = UInt64(entry.tableSize) * 8
            let stored = min(length, reader.length - min(entry.tableOffset, reader.length))
            guard let less = rest.subtracting(stored) else {
                return give(up: .bitmapDirectory(rule: "its tables lie on top of each other"))
            }
            rest = less
            add(.bitmapTable, offset: entry.tableOffset, length: length)
            do throws(Qcow2Error.Problem) {
                try await gatherBits(of: entry, storedEntries: stored / 8)
            } catch {
                give(up: error, at: entry.tableOffset)
            }
        }
    }

    /// - Parameter storedEntries: entries of the table that the file has; the others read as zeroes.
    private func gatherBits(
        of entry: BitmapDirectoryEntry, storedEntries: UInt64
    ) async throws(Qcow2Error.Problem) {
        var index: UInt64 = 0
        while index < storedEntries {
            let count = min(storedEntries - index, 1 << 17)
            let words: [UInt64]
            do {
                words = try await reader.words(at: entry.tableOffset + index * 8, count: Int(count))
            } catch {
                throw entry.broken("its table can't be read: \(error)")
            }
            for (place, raw) in words.enumerated() where raw != 0 {
                do throws(BitmapTableEntry.Defect) {
                    let bits = try BitmapTableEntry(
                        rawValue: raw, clusterLength: clusterLength, fileLength: Self.noLimit)
                    guard case .stored(let host) = bits else { continue }
                    addBits(at: host.bytes)
                } catch {
                    throw entry.broken("entry \(index + UInt64(place)) of its table (\(hex(raw))) breaks the format")
                }
            }
            index += count
        }
    }

    private func addBits(at offset: UInt64) {
        if isPastEnd(offset) {
            // Counts it, and keeps nothing.
            add(.bitmapCluster, offset: offset, length: clusterLength)
        } else {
            bitmapClusters.add(offset >> clusterBits)
        }
    }
}
