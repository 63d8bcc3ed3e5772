// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// The internal snapshots of an image.
///
/// Spec: “Snapshots”.
enum SnapshotTable {
    /// Bytes of the extra data that are read: the size of the VM state, that of the disk, and the instruction count.
    static let knownExtraLength: UInt64 = 24

    /// Reads the table.
    ///
    /// - Parameters:
    ///   - currentSize: the disk's size for snapshots that record none.
    ///   - withNames: whether ids and names are wanted, which are most of a large table.
    /// - Returns: the snapshots, and the length of the table in bytes.
    static func read(
        _ header: Qcow2Header, from file: any Storage, currentSize: UInt64, withNames: Bool
    ) async throws(BlockError) -> (snapshots: [Snapshot], length: UInt64) {
        let fail = { (problem: Qcow2Error.Problem) in BlockError.layer(Qcow2Error(image: file.name, problem)) }
        guard header.snapshotCount > 0 else { return ([], 0) }
        guard header.snapshotCount <= Qcow2Limits.snapshotCount else {
            throw fail(
                .snapshotTable(
                    rule:
                        "\(header.snapshotCount) snapshots are too large a number: at most \(Qcow2Limits.snapshotCount)"
                ))
        }
        let clusterLength: UInt64 = 1 << UInt64(header.clusterBits)
        let (start, fileLength) = (header.snapshotsOffset, file.length)
        guard start.isAligned(to: clusterLength) else { throw fail(.notAligned(.snapshotTable, offset: start)) }
        var snapshots: [Snapshot] = []
        var offset = start
        for _ in 0..<header.snapshotCount {
            let fixed = try await file.paddedContents(at: offset, count: fieldsLength)
            let entry = try decoded(fixed, fail)
            let end = offset.adding(SnapshotEntry.fixedLength)?.adding(entry.variableLength)
            // The file may end inside its last cluster.
            guard let end, end - start <= Qcow2Limits.snapshotTableLength,
                !ImageLayout.isPastEnd(
                    offset: start, length: end - start, fileLength: fileLength, clusterLength: clusterLength)
            else {
                throw fail(.pastEnd(.snapshotTable, offset: offset, fileLength: fileLength))
            }
            let extra = fixed[Int(SnapshotEntry.fixedLength)...].prefix(Int(min(entry.extraLength, knownExtraLength)))
            let (id, name) = withNames ? try await names(of: entry, at: offset, in: file) : ([], [])
            snapshots.append(Self.snapshot(entry, Array(extra), id: id, name: name, currentSize: currentSize))
            // Entries start at multiples of 8.
            offset = end.alignedUp(to: 8) ?? end
        }
        return (snapshots, offset - start)
    }

    /// Bytes of an entry's fixed fields, and of what is read of its extra data.
    private static let fieldsLength = Int(SnapshotEntry.fixedLength + knownExtraLength)

    private static func names(
        of entry: SnapshotEntry, at offset: UInt64, in file: any Storage
    ) async throws(BlockError) -> (id: [UInt8], name: [UInt8]) {
        let names = try await file.paddedContents(
            at: offset + SnapshotEntry.fixedLength + entry.extraLength, count: Int(entry.idLength + entry.nameLength))
        return (Array(names.prefix(Int(entry.idLength))), Array(names.dropFirst(Int(entry.idLength))))
    }

    private static func snapshot(
        _ entry: SnapshotEntry, _ extra: [UInt8], id: [UInt8], name: [UInt8], currentSize: UInt64
    ) -> Snapshot {
        let vmStateSize: UInt64? = try? extra.span.bytes.bigEndian(at: 0)
        // Of whole sectors, as guests see it.
        let size: UInt64? = (try? extra.span.bytes.bigEndian(at: 8)).map { $0 & ~511 }
        let instructionCount: UInt64? = try? extra.span.bytes.bigEndian(at: 16)
        return Snapshot(
            idBytes: id, nameBytes: name, diskSize: size ?? currentSize,
            vmStateSize: vmStateSize ?? UInt64(entry.vmStateSize), dateSeconds: entry.dateSeconds,
            dateNanoseconds: entry.dateNanoseconds, vmClockNanoseconds: entry.vmClockNanoseconds,
            instructionCount: instructionCount == .max ? nil : instructionCount,
            l1TableOffset: entry.l1TableOffset, l1Size: entry.l1Size)
    }

    private static func decoded(
        _ bytes: [UInt8], _ fail: (Qcow2Error.Problem) -> BlockError
    ) throws(BlockError) -> SnapshotEntry {
        do {
            return try SnapshotEntry(decoding: bytes.span.bytes)
        } catch {
            throw fail(.snapshotTable(rule: "an entry is truncated"))
        }
    }
}

/// An internal snapshot: the disk as it was, inside the same image.
///
/// Spec: “Snapshots”.
package struct Snapshot: Sendable, Equatable {
    /// Bytes, because names need not be text, and making text of all of them takes time. Empty where nobody asked for names.
    let idBytes: [UInt8]
    let nameBytes: [UInt8]
    /// Virtual size in bytes then.
    package let diskSize: UInt64
    /// Bytes of the saved machine; 0 for none.
    package let vmStateSize: UInt64
    /// When it was made: seconds since 1970, and nanoseconds more.
    package let dateSeconds: UInt32
    package let dateNanoseconds: UInt32
    /// How long the machine had run, in nanoseconds.
    package let vmClockNanoseconds: UInt64
    /// Instructions that the machine had executed; `nil` where that was not counted.
    package let instructionCount: UInt64?
    let l1TableOffset: UInt64
    /// Number of entries.
    let l1Size: UInt32

    /// As it is stored; what is no text becomes replacement characters.
    package var id: String { String(decoding: idBytes, as: UTF8.self) }
    /// As it is stored; what is no text becomes replacement characters.
    package var name: String { String(decoding: nameBytes, as: UTF8.self) }
}
