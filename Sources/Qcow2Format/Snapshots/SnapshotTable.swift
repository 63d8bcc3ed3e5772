// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// The internal snapshots of an image.
///
/// Spec: “Snapshots”.
enum SnapshotTable {
    /// Bytes of the extra data that are read: the size of the VM state, that of the disk, and the instruction count.
    private static let knownExtraLength: UInt64 = 24

    /// Reads the table.
    ///
    /// - Parameter currentSize: the disk's size for snapshots that record none.
    /// - Returns: the snapshots, and the length of the table in bytes.
    static func read(
        _ header: Qcow2Header, from file: any StorageDevice, currentSize: UInt64
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
        guard header.snapshotsOffset.isAligned(to: 1 << UInt64(header.clusterBits)) else {
            throw fail(.notAligned(.snapshotTable, offset: header.snapshotsOffset))
        }
        var snapshots: [Snapshot] = []
        var offset = header.snapshotsOffset
        for _ in 0..<header.snapshotCount {
            guard let fixedEnd = offset.adding(SnapshotEntry.fixedLength), fixedEnd <= file.length else {
                throw fail(.pastEnd(.snapshotTable, offset: offset, fileLength: file.length))
            }
            let fixed = try await file.contents(at: offset, count: Int(SnapshotEntry.fixedLength))
            let entry = try decoded(fixed, fail)
            guard let end = fixedEnd.adding(entry.variableLength), end <= file.length,
                end - header.snapshotsOffset <= Qcow2Limits.snapshotTableLength
            else {
                throw fail(.pastEnd(.snapshotTable, offset: offset, fileLength: file.length))
            }
            let extra = try await file.contents(
                at: fixedEnd, count: Int(min(entry.extraLength, knownExtraLength)))
            let names = try await file.contents(
                at: fixedEnd + entry.extraLength, count: Int(entry.idLength + entry.nameLength))
            let vmStateSize: UInt64? = try? extra.span.bytes.bigEndian(at: 0)
            let size: UInt64? = try? extra.span.bytes.bigEndian(at: 8)
            let instructionCount: UInt64? = try? extra.span.bytes.bigEndian(at: 16)
            snapshots.append(
                Snapshot(
                    id: printable(names.prefix(Int(entry.idLength))),
                    name: printable(names.dropFirst(Int(entry.idLength))), diskSize: size ?? currentSize,
                    vmStateSize: vmStateSize ?? UInt64(entry.vmStateSize), dateSeconds: entry.dateSeconds,
                    dateNanoseconds: entry.dateNanoseconds, vmClockNanoseconds: entry.vmClockNanoseconds,
                    instructionCount: instructionCount == .max ? nil : instructionCount,
                    l1TableOffset: entry.l1TableOffset, l1Size: entry.l1Size))
            // Entries start at multiples of 8.
            offset = end.alignedUp(to: 8) ?? end
        }
        return (snapshots, offset - header.snapshotsOffset)
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
