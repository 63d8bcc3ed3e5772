// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// The internal snapshots of an image.
///
/// Spec: “Snapshots”.
enum SnapshotTable {
    /// Bytes of an entry's fixed fields.
    private static let fixedLength: UInt64 = 40
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
            guard let fixedEnd = offset.adding(fixedLength), fixedEnd <= file.length else {
                throw fail(.pastEnd(.snapshotTable, offset: offset, fileLength: file.length))
            }
            let fixed = try await file.contents(at: offset, count: Int(fixedLength))
            let entry = try decoded(fixed, fail)
            let variable = entry.extraLength + entry.idLength + entry.nameLength
            guard let end = fixedEnd.adding(variable), end <= file.length,
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

    private struct FixedFields {
        let l1TableOffset: UInt64
        let l1Size: UInt32
        let idLength: UInt64
        let nameLength: UInt64
        let extraLength: UInt64
        let dateSeconds: UInt32
        let dateNanoseconds: UInt32
        let vmClockNanoseconds: UInt64
        let vmStateSize: UInt32
    }

    private static func decoded(
        _ bytes: [UInt8], _ fail: (Qcow2Error.Problem) -> BlockError
    ) throws(BlockError) -> FixedFields {
        let span = bytes.span.bytes
        do {
            let idLength: UInt16 = try span.bigEndian(at: 12)
            let nameLength: UInt16 = try span.bigEndian(at: 14)
            let extraLength: UInt32 = try span.bigEndian(at: 36)
            return FixedFields(
                l1TableOffset: try span.bigEndian(at: 0), l1Size: try span.bigEndian(at: 8),
                idLength: UInt64(idLength), nameLength: UInt64(nameLength), extraLength: UInt64(extraLength),
                dateSeconds: try span.bigEndian(at: 16), dateNanoseconds: try span.bigEndian(at: 20),
                vmClockNanoseconds: try span.bigEndian(at: 24), vmStateSize: try span.bigEndian(at: 32))
        } catch {
            throw fail(.snapshotTable(rule: "an entry is truncated"))
        }
    }
}
