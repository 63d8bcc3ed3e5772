// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc
import SystemPackage

extension FileDevice {
    /// Bytes that the file takes on its disk; `nil` where the system doesn't tell.
    package var allocatedLength: UInt64? {
        var status = stat()
        guard fstat(descriptor.rawValue, &status) == 0 else { return nil }
        // In units of 512 bytes, whatever the file system's blocks are.
        return UInt64(exactly: status.st_blocks).map { $0 &* 512 }
    }

    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        guard kind == .regular else {
            return data(at: offset, length: length)
        }
        let run = run(at: offset)
        let length = min(run.range.upperBound - offset, length)
        guard run.isHole else { return data(at: offset, length: length) }
        return BlockExtent(length: length, isAllocated: true, readsAsZero: true)
    }

    /// The run of data, or of a hole, that holds a byte of the file.
    ///
    /// What was said once counts as long as the file stays as it is. Else the file system is asked anew.
    private func run(at offset: UInt64) -> HoleMap.Run {
        guard isSteady else { return askForRun(at: offset) }
        if let known = state.withLock({ $0.holes.run(at: offset) }) { return known }
        let run = askForRun(at: offset)
        state.withLock { $0.holes.remember(run) }
        return run
    }

    private func askForRun(at offset: UInt64) -> HoleMap.Run {
        // Holes are a hint about storage: where the file system can't tell, everything is data.
        let everything = HoleMap.Run(range: offset..<max(length, offset + 1), isHole: false)
        switch calls.seek(descriptor.rawValue, Int64(offset), clinux_SEEK_DATA) {
        case .failure(.noSuchAddressOrDevice):
            return HoleMap.Run(range: everything.range, isHole: true)
        case .failure:
            return everything
        case .success(let start) where UInt64(start) > offset:
            return HoleMap.Run(range: offset..<UInt64(start), isHole: true)
        case .success:
            guard case .success(let end) = calls.seek(descriptor.rawValue, Int64(offset), clinux_SEEK_HOLE),
                UInt64(end) > offset
            else { return everything }
            return HoleMap.Run(range: offset..<UInt64(end), isHole: false)
        }
    }

    private func data(at offset: UInt64, length: UInt64) -> BlockExtent {
        BlockExtent(
            length: length, isAllocated: true, readsAsZero: false,
            location: StorageLocation(device: self, offset: offset))
    }
}

extension FileDevice {
    package var lockWeakness: String? {
        if let reason = lockUnavailable { return "can't be locked (\(reason.errno))" }
        return isLockedClassically ? "is locked by the weaker means that the system has" : nil
    }

    /// Takes no lock, so it disturbs nobody; where there is no locking, nobody has announced anything.
    package var isWrittenByOther: Bool {
        guard kind == .regular else { return false }
        let system = LockCalls()
        return ImageLockMode.bytes(showing: [.write, .resize]).contains { byte in
            var type = Int16(F_UNLCK)
            return system.probe(descriptor.rawValue, byte, &type) == nil && type != Int16(F_UNLCK)
        }
    }
}
