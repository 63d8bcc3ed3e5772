// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO
import DirtyBitmaps

/// Digests what goes into a backup while it is written, in any order and from any thread.
///
/// Memory is that of the digests, and of the units of ranges that are not complete yet.
public final class ContentRecorder: Sendable {
    private struct State {
        /// Units that came.
        var held: DirtyBitmap
        var table: DigestTable
        /// Ranges of which some units came, and not all.
        var pending: [UInt64: RangeUnits] = [:]
        /// Ranges of which something came again after they were complete: they are read at the end.
        var unsettled: Set<UInt64> = []
    }

    private let digester: UnitDigester
    private let state: Locked<State>

    private var geometry: ContentGeometry { digester.geometry }

    public init(virtualSize: UInt64, algorithm: DigestAlgorithm) {
        let geometry = ContentGeometry(virtualSize: virtualSize)
        digester = UnitDigester(algorithm, geometry)
        do {
            let held = try DirtyBitmap(length: virtualSize, granularity: ContentGeometry.unitLength)
            state = Locked(State(held: held, table: DigestTable(algorithm)))
        } catch {
            preconditionFailure("\(error)")
        }
    }

    /// The digests of what is about to be written.
    ///
    /// Taken before, while the bytes are still in the processor's cache: afterwards that costs several times as much.
    ///
    /// - Returns: one digest for each unit; `nil` where the bytes aren't whole units.
    func digests(at offset: UInt64, _ bytes: RawSpan) -> [Digest]? {
        guard isWhole(offset, UInt64(bytes.byteCount)) else { return nil }
        var digests: [Digest] = []
        digests.reserveCapacity(bytes.byteCount / Int(ContentGeometry.unitLength) + 1)
        var position = 0
        while position < bytes.byteCount {
            let end = min(position + Int(ContentGeometry.unitLength), bytes.byteCount)
            digests.append(digester.algorithm.digest(of: bytes.extracting(position..<end)))
            position = end
        }
        return digests
    }

    /// Notes what was written.
    ///
    /// - Parameter digests: of the same place and length.
    func record(at offset: UInt64, length: UInt64, _ digests: [Digest]?) {
        guard let digests else { return unsettle(offset, length) }
        let first = offset / ContentGeometry.unitLength
        state.withLock { state in
            for (index, digest) in digests.enumerated() {
                let unit = first + UInt64(index)
                note(unit, digest == digester.zero(ofUnit: unit) ? nil : digest, in: &state)
            }
        }
    }

    /// Notes what was written and is still at hand.
    public func record(at offset: UInt64, _ bytes: RawSpan) {
        record(at: offset, length: UInt64(bytes.byteCount), digests(at: offset, bytes))
    }

    /// Notes that a range was made zero.
    public func recordZeroes(at offset: UInt64, length: UInt64) {
        guard length > 0 else { return }
        guard isWhole(offset, length) else { return unsettle(offset, length) }
        var unit = offset / ContentGeometry.unitLength
        let end = (offset + length - 1) / ContentGeometry.unitLength + 1
        let unitsInRange = UInt64(ContentGeometry.unitsInRange)
        state.withLock { state in
            while unit < end {
                // Whole ranges of which nothing came yet need no more than their bits.
                if unit.isMultiple(of: unitsInRange), end - unit >= unitsInRange {
                    let next = end - end % unitsInRange
                    let whole = geometry.bytes(ofUnit: unit).lowerBound..<geometry.bytes(ofUnit: next - 1).upperBound
                    let seen = state.held.nextDirty(from: whole.lowerBound, limit: whole.upperBound)
                    let free = (seen ?? whole.upperBound) / ContentGeometry.rangeLength * unitsInRange
                    let stop = seen == nil ? next : free
                    if stop > unit {
                        state.held.set(
                            geometry.bytes(ofUnit: unit).lowerBound..<geometry.bytes(ofUnit: stop - 1).upperBound)
                        unit = stop
                        continue
                    }
                }
                note(unit, nil, in: &state)
                unit += 1
            }
        }
    }

    /// Notes that nobody knows what a range holds now: it is read at the end.
    public func unsettle(_ offset: UInt64, _ length: UInt64) {
        guard length > 0, offset < geometry.virtualSize else { return }
        let end = min(length, geometry.virtualSize - offset) + offset
        state.withLock { state in
            state.held.set(offset..<end)
            for range in offset / ContentGeometry.rangeLength...(end - 1) / ContentGeometry.rangeLength {
                state.unsettled.insert(range)
            }
        }
    }

    /// The digests of all that came.
    ///
    /// - Parameters:
    ///   - isWhole: whether what didn't come reads as zeroes, and not as what another disk holds.
    ///   - device: what was written to, for what has to be read again.
    public func finish(
        isWhole: Bool, reading device: any BlockDevice
    ) async throws(BlockError) -> ContentDigests {
        let state = state.withLock { $0 }
        let layer = isWhole ? nil : state.held
        let known = ContentDigests(geometry: geometry, layer: layer, table: state.table)
        var table = state.table
        for (range, units) in state.pending {
            table[range] = digester.digest(ofRange: range, held: known.heldUnits(ofRange: range), data: units)
        }
        var buffer = AlignedBuffer(count: state.unsettled.isEmpty ? 0 : Int(ContentGeometry.rangeLength))
        for range in state.unsettled {
            let bytes = geometry.bytes(ofRange: range)
            // At most a range's length.
            let count = Int(bytes.upperBound - bytes.lowerBound)
            var span = buffer.mutablePrefix(count)
            try await device.read(at: bytes.lowerBound, into: &span)
            let held = known.heldUnits(ofRange: range)
            table[range] = digester.digest(ofRange: range, held: held, in: buffer.prefix(count))
        }
        return ContentDigests(geometry: geometry, layer: layer, table: table)
    }

    // MARK: Units

    /// Whether a range of the disk is made of whole units.
    private func isWhole(_ offset: UInt64, _ length: UInt64) -> Bool {
        guard offset.isMultiple(of: ContentGeometry.unitLength),
            length <= geometry.virtualSize - min(offset, geometry.virtualSize)
        else { return false }
        return length.isMultiple(of: ContentGeometry.unitLength) || offset + length == geometry.virtualSize
    }

    /// - Parameter digest: `nil` for zeroes.
    private func note(_ unit: UInt64, _ digest: Digest?, in state: inout State) {
        let range = unit / UInt64(ContentGeometry.unitsInRange)
        let place = Int(unit % UInt64(ContentGeometry.unitsInRange))
        let bytes = geometry.bytes(ofUnit: unit)
        let isNew = !state.held.isDirty(at: bytes.lowerBound)
        if !isNew, state.pending[range] == nil {
            // Complete before. Of zeroes all is known; of data, no more than the digest of all.
            if state.table[range] != nil || state.unsettled.contains(range) {
                state.unsettled.insert(range)
                return
            }
        }
        state.held.set(bytes)
        state.pending[range, default: RangeUnits()][place] = digest
        let all = geometry.bytes(ofRange: range)
        guard state.held.nextClean(from: all.lowerBound, limit: all.upperBound) == nil else { return }
        if let units = state.pending.removeValue(forKey: range) {
            state.table[range] = digester.digest(ofRange: range, held: geometry.allUnits(ofRange: range), data: units)
        }
    }
}
