// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// Digests what goes into a backup while it is written, in any order and from any thread.
///
/// Memory is bounded: digests that come to more go to a scratch file; ranges that are long incomplete are given digests of
/// what they have, and read at the end where more comes. What is left grows with the disk alone, by a bit or two for each
/// unit at most.
package final class ContentRecorder: Sendable {
    private struct State {
        /// Units that came.
        var held: DirtyBitmap
        /// Ranges that have a digest, in the table or in the scratch file.
        var data: DirtyBitmap
        var table: DigestTable
        /// Ranges of which some units came, and not all.
        var pending: [UInt64: RangeUnits] = [:]
        /// These in the order in which they began, and others that are complete.
        var order: [UInt64] = []
        /// Ranges that are not pending any more, though not all units came.
        var partial: DirtyBitmap
        /// Ranges of which something came again after they had their digest: they are read at the end.
        var unsettled: DirtyBitmap
    }

    /// How much is kept in memory.
    struct Limits: Sendable {
        /// Bytes of digests.
        var digests = 4 << 20
        /// Ranges that are incomplete.
        var pending = 4096
    }

    private let digester: UnitDigester
    private let limits: Limits
    private let scratch: DigestScratch?
    private let state: Locked<State>
    /// One at a time goes to the scratch file.
    private let spilling = AsyncMutex()

    private var geometry: ContentGeometry { digester.geometry }

    /// - Parameter scratch: an empty file for what is too much for memory; `nil` for none.
    package convenience init(
        virtualSize: UInt64, algorithm: DigestAlgorithm, scratch: (any Storage)? = nil
    ) {
        self.init(virtualSize: virtualSize, algorithm: algorithm, scratch: scratch, limits: Limits())
    }

    init(virtualSize: UInt64, algorithm: DigestAlgorithm, scratch: (any Storage)?, limits: Limits) {
        let geometry = ContentGeometry(virtualSize: virtualSize)
        digester = UnitDigester(algorithm, geometry)
        self.limits = limits
        self.scratch = scratch.map { DigestScratch($0, algorithm) }
        do {
            let units = try DirtyBitmap(length: virtualSize, granularity: ContentGeometry.unitLength)
            let ranges = try DirtyBitmap(length: virtualSize, granularity: ContentGeometry.rangeLength)
            state = Locked(
                State(
                    held: units, data: ranges, table: DigestTable(algorithm), partial: ranges, unsettled: ranges))
        } catch {
            preconditionFailure("\(error)")
        }
    }

    /// Bytes at the beginning of the scratch file that are in use.
    package var scratchLength: UInt64 { scratch?.length ?? 0 }

    /// Moves digests to the scratch file, where there are many. To be called now and then while content comes.
    ///
    /// - Throws: where it can't be written. Nothing is lost by that.
    func spill() async throws(BlockError) {
        guard let scratch, isFull else { return }
        try await spilling.withLock { () async throws(BlockError) in
            guard isFull else { return }
            let pages = state.withLock { $0.table.takeOldest() }
            do throws(BlockError) {
                try await scratch.write(pages)
            } catch {
                state.withLock { $0.table.putBack(pages) }
                throw error
            }
        }
    }

    private var isFull: Bool { state.withLock { $0.table.byteCount > limits.digests } }

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
    package func record(at offset: UInt64, _ bytes: RawSpan) {
        record(at: offset, length: UInt64(bytes.byteCount), digests(at: offset, bytes))
    }

    /// Notes that a range was made zero.
    package func recordZeroes(at offset: UInt64, length: UInt64) {
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
    package func unsettle(_ offset: UInt64, _ length: UInt64) {
        guard length > 0, offset < geometry.virtualSize else { return }
        let end = min(length, geometry.virtualSize - offset) + offset
        state.withLock { state in
            state.held.set(offset..<end)
            state.unsettled.set(offset..<end)
        }
    }

    /// The digests of all that came. Nothing may come any more.
    ///
    /// - Parameters:
    ///   - isWhole: whether what didn't come reads as zeroes, and not as what another disk holds.
    ///   - device: what was written to, for what has to be read again.
    package func finish(
        isWhole: Bool, reading device: any BlockDevice
    ) async throws(BlockError) -> RecordedContent {
        let unsettled: DirtyBitmap = state.withLock { state in
            for (range, units) in state.pending {
                settle(
                    range, in: &state, digester.digest(ofRange: range, held: held(range, isWhole, state), data: units))
            }
            state.pending = [:]
            state.order = []
            // What was made of a part of them isn't right where the rest counts as zeroes.
            if isWhole { state.unsettled.formUnion(state.partial) }
            return state.unsettled
        }
        var buffer = AlignedBuffer(count: unsettled.isEmpty ? 0 : Int(ContentGeometry.rangeLength))
        var position: UInt64 = 0
        while let start = unsettled.nextDirty(from: position) {
            let range = start / ContentGeometry.rangeLength
            let bytes = geometry.bytes(ofRange: range)
            // At most a range's length.
            let count = Int(bytes.upperBound - bytes.lowerBound)
            var span = buffer.mutablePrefix(count)
            try await device.read(at: bytes.lowerBound, into: &span)
            let held: UInt16 = state.withLock { state in self.held(range, isWhole, state) }
            let digest = digester.digest(ofRange: range, held: held, in: buffer.prefix(count))
            state.withLock { settle(range, in: &$0, digest) }
            try await spill()
            position = bytes.upperBound
        }
        return state.withLock { state in
            RecordedContent(
                geometry: geometry, layer: isWhole ? nil : state.held, data: state.data, table: state.table,
                scratch: scratch)
        }
    }

    /// The units of a range that count, one bit each from bit 0 on.
    private func held(_ range: UInt64, _ isWhole: Bool, _ state: State) -> UInt16 {
        let all = geometry.allUnits(ofRange: range)
        if isWhole { return all }
        let first = range * UInt64(ContentGeometry.unitsInRange)
        return (0..<ContentGeometry.unitsInRange).reduce(0) { held, unit in
            let bit: UInt16 = 1 << UInt16(unit)
            guard all & bit != 0, state.held.isDirty(at: geometry.bytes(ofUnit: first + UInt64(unit)).lowerBound) else {
                return held
            }
            return held | bit
        }
    }

    /// - Parameter digest: `nil` for zeroes.
    private func settle(_ range: UInt64, in state: inout State, _ digest: Digest?) {
        let bytes = geometry.bytes(ofRange: range)
        if let digest {
            state.table.set(digest, ofRange: range)
            state.data.set(bytes)
        } else {
            state.data.reset(bytes)
        }
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
        let all = geometry.bytes(ofRange: range)
        if state.pending[range] == nil,
            state.data.isDirty(at: all.lowerBound) || state.unsettled.isDirty(at: all.lowerBound)
        {
            // Digested before. Of zeroes all is known; of data, no more than the digest of all.
            state.held.set(bytes)
            state.unsettled.set(all)
            return
        }
        state.held.set(bytes)
        if state.pending[range] == nil { begin(range, in: &state) }
        state.pending[range]?[place] = digest
        guard state.held.nextClean(from: all.lowerBound, limit: all.upperBound) == nil else { return }
        if let units = state.pending.removeValue(forKey: range) {
            settle(
                range, in: &state,
                digester.digest(ofRange: range, held: geometry.allUnits(ofRange: range), data: units))
        }
    }

    /// Makes a range pending, and those that have been it longest no longer, where there are many.
    private func begin(_ range: UInt64, in state: inout State) {
        if state.pending.count >= limits.pending {
            for old in state.order.prefix(state.order.count / 2 + 1) {
                guard let units = state.pending.removeValue(forKey: old) else { continue }
                settle(old, in: &state, digester.digest(ofRange: old, held: held(old, false, state), data: units))
                state.partial.set(geometry.bytes(ofRange: old))
            }
            state.order.removeFirst(state.order.count / 2 + 1)
        } else if state.order.count >= 4 * limits.pending {
            let pending = state.pending
            state.order.removeAll { pending[$0] == nil }
        }
        state.pending[range] = RangeUnits()
        state.order.append(range)
    }
}
