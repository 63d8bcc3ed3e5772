// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc

extension FileDevice {
    /// Bytes that the file takes on its disk; `nil` where the system doesn't tell.
    public var allocatedLength: UInt64? {
        var status = stat()
        guard fstat(descriptor.rawValue, &status) == 0 else { return nil }
        // In units of 512 bytes, whatever the file system's blocks are.
        return UInt64(exactly: status.st_blocks).map { $0 &* 512 }
    }

    public func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        guard kind == .regular else {
            return data(at: offset, length: length)
        }
        // Holes are a hint about storage: where the file system can't tell, everything is data.
        let start = lseek(descriptor.rawValue, off_t(offset), clinux_SEEK_DATA)
        if start < 0 {
            guard errno == ENXIO else { return data(at: offset, length: length) }
            return BlockExtent(length: length, isAllocated: true, readsAsZero: true)
        }
        if UInt64(start) > offset {
            return BlockExtent(
                length: min(UInt64(start) - offset, length), isAllocated: true, readsAsZero: true)
        }
        let end = lseek(descriptor.rawValue, off_t(offset), clinux_SEEK_HOLE)
        guard end > 0, UInt64(end) > offset else { return data(at: offset, length: length) }
        return data(at: offset, length: min(UInt64(end) - offset, length))
    }

    private func data(at offset: UInt64, length: UInt64) -> BlockExtent {
        BlockExtent(
            length: length, isAllocated: true, readsAsZero: false,
            location: StorageLocation(device: self, offset: offset))
    }
}
