// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// The ways to bring a range to the target.
extension BlockCopy {
    func writeZeroes(_ range: Range<UInt64>) async throws(CopyError) {
        do {
            try await target.writeZeroes(at: range.lowerBound, length: range.upperBound - range.lowerBound)
        } catch {
            throw CopyError(operation: .writeZeroes, range: range, underlying: error)
        }
    }

    /// False where it failed, which is no error: the same clusters then go through the buffer.
    func offload(from location: StorageLocation, to range: Range<UInt64>) async -> Bool {
        do {
            try await target.copyRange(
                from: location, to: range.lowerBound, length: range.upperBound - range.lowerBound)
            return true
        } catch {
            return false
        }
    }

    /// Reads the range, which fits into the buffer, and writes it as runs of zeroes and runs of data.
    func copyThroughBuffer(
        _ range: Range<UInt64>, _ buffer: inout AlignedBuffer, _ counters: inout CopyCounters
    ) async throws(CopyError) {
        // No more than the buffer holds, so it fits an Int.
        let count = Int(range.upperBound - range.lowerBound)
        try await read(range, into: &buffer)
        counters.read &+= UInt64(count)
        let unit = Int(clusterSize.zeroUnit)
        var offset = 0
        // Counted once all of it is done: after a failure all of it is done again.
        var (zero, written): (UInt64, UInt64) = (0, 0)
        while offset < count {
            let run = ZeroRun(in: buffer.prefix(count), from: offset, unit: unit)
            let start = range.lowerBound + UInt64(offset)
            if run.isZero {
                try await writeZeroes(start..<start + UInt64(run.count))
                zero += UInt64(run.count)
            } else {
                try await write(offset..<offset + run.count, of: buffer, at: start)
                written += UInt64(run.count)
            }
            offset += run.count
        }
        counters.zero &+= zero
        counters.written &+= written
    }

    private func read(_ range: Range<UInt64>, into buffer: inout AlignedBuffer) async throws(CopyError) {
        var position = range.lowerBound
        while position < range.upperBound {
            let end = position + min(range.upperBound - position, maximumTransfer)
            let start = Int(position - range.lowerBound)
            do {
                var span = buffer.mutableSlice(start..<Int(end - range.lowerBound))
                try await source.read(at: position, into: &span)
            } catch {
                throw CopyError(operation: .read, range: position..<end, underlying: error)
            }
            position = end
        }
    }

    /// Writes one run of data.
    private func write(_ slice: Range<Int>, of buffer: borrowing AlignedBuffer, at offset: UInt64)
        async throws(CopyError)
    {
        if compress {
            do {
                try await target.writeCompressed(at: offset, from: buffer.bytes.extracting(slice))
            } catch {
                throw CopyError(
                    operation: .writeCompressed, range: offset..<offset + UInt64(slice.count), underlying: error)
            }
            return
        }
        var start = slice.lowerBound
        while start < slice.upperBound {
            let end = start + Int(min(UInt64(slice.upperBound - start), maximumTransfer))
            let position = offset + UInt64(start - slice.lowerBound)
            do {
                try await target.write(at: position, from: buffer.bytes.extracting(start..<end))
            } catch {
                throw CopyError(
                    operation: .write, range: position..<position + UInt64(end - start), underlying: error)
            }
            start = end
        }
    }
}
