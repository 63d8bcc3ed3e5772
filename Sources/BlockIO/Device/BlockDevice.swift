// SPDX-License-Identifier: GPL-2.0-or-later

/// A disk: a fixed number of bytes that can be read, and perhaps written, at any offset.
///
/// Raw files, image formats, NBD exports and wrappers around them all appear as this, and the job core knows nothing
/// else. Every transfer is whole: it moves all the bytes that were asked for or throws. Requests may overlap in time;
/// what overlapping writes leave behind is undefined, as on a real disk. Blocking calls are fine inside, since the
/// work runs on `WorkerThreads`. A request of a task that was cancelled fails: `Cancellation`.
package protocol BlockDevice: AnyObject, Sendable {
    /// What a person calls the device: a path or a URL.
    var name: String { get }

    /// Length of the disk in bytes.
    var length: UInt64 { get }

    /// What the device can do, for callers that choose between ways to reach the same end.
    var capabilities: DeviceCapabilities { get }

    /// What unallocated ranges show; `nil` where that is nothing, or not known here.
    var backing: (any BlockDevice)? { get }

    /// Unit in bytes below which a write may touch neighbouring data; 0 where there is none.
    ///
    /// - Throws: `BlockError.unsupported` where the device has no way to tell.
    func clusterSize() async throws(BlockError) -> UInt64

    /// Fills the buffer with the bytes from `offset` on.
    ///
    /// - Throws: `BlockError.outOfRange` where the range does not lie on the disk.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError)

    /// Fills parts of the buffer with pieces of the disk; what lies together may be read in one go.
    ///
    /// - Throws: the first piece that failed; the buffer is undefined then.
    func read(_ pieces: [TransferPiece], into buffer: inout MutableRawSpan) async throws(TransferError)

    /// What is known about the bytes from `offset` on, without reading them.
    ///
    /// The answer covers at least one byte and at most `length` bytes, and holds for all of them.
    func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent

    /// Writes the whole buffer at `offset`.
    func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError)

    /// Writes parts of the buffer to pieces of the disk, which don't overlap; a device that chooses where to store them
    /// writes them in one go.
    ///
    /// - Throws: the first piece that failed; those before it have been written.
    func write(_ pieces: [TransferPiece], from buffer: RawSpan) async throws(TransferError)

    /// Writes the whole buffer, compressed where that makes it smaller. `offset` and, but for the end of the disk, the
    /// length are multiples of the cluster size.
    func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError)

    /// Makes the range read as zeroes, and gives its storage back where the device can.
    func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError)

    /// Copies stored bytes without moving them through this process, sharing them where the file system can.
    ///
    /// - Throws: any error where that can't be done; the caller then copies through a buffer.
    @discardableResult
    func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy

    /// Tells the device that the content of the range no longer matters.
    func discard(at offset: UInt64, length: UInt64) async throws(BlockError)

    /// Brings everything written so far to stable storage.
    func flush() async throws(BlockError)
}

/// Defaults for devices that gain nothing from knowing several pieces at once.
extension BlockDevice {
    package func read(_ pieces: [TransferPiece], into buffer: inout MutableRawSpan) async throws(TransferError) {
        for (index, piece) in pieces.enumerated() {
            do throws(BlockError) {
                var part = buffer.slice(piece.slice)
                try await read(at: piece.offset, into: &part)
            } catch {
                throw TransferError(index: index, underlying: error)
            }
        }
    }

    package func write(_ pieces: [TransferPiece], from buffer: RawSpan) async throws(TransferError) {
        for (index, piece) in pieces.enumerated() {
            do throws(BlockError) {
                try await write(at: piece.offset, from: buffer.extracting(piece.slice))
            } catch {
                throw TransferError(index: index, underlying: error)
            }
        }
    }
}

/// Defaults for devices that are only read.
extension BlockDevice {
    package var backing: (any BlockDevice)? { nil }

    package func clusterSize() async throws(BlockError) -> UInt64 { 0 }

    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        throw .readOnly(device: name)
    }

    package func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        throw .unsupported(operation: "compressed writes", device: name)
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        throw .readOnly(device: name)
    }

    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        throw .unsupported(operation: "copy offload", device: name)
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        throw .readOnly(device: name)
    }

    package func flush() async throws(BlockError) {}

    /// Checks that a request lies on the disk, and that it is still wanted.
    ///
    /// - Throws: `BlockError.outOfRange`; `.cancelled` where the task was cancelled that makes the request.
    @inlinable
    package func checkRange(at offset: UInt64, length: UInt64) throws(BlockError) {
        try Cancellation.check()
        guard offset <= self.length, length <= self.length - offset else {
            throw .outOfRange(device: name, offset: offset, length: length, deviceLength: self.length)
        }
    }
}

extension BlockDevice {
    /// Reads `count` bytes into an array: for headers and tables, whose length has been checked.
    ///
    /// - Throws: `BlockError.outOfRange` where the range does not lie on the disk; nothing is allocated then.
    package func contents(at offset: UInt64, count: Int) async throws(BlockError) -> [UInt8] {
        try checkRange(at: offset, length: UInt64(count))
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        var target = span.mutableBytes
        try await read(at: offset, into: &target)
        return bytes
    }
}
