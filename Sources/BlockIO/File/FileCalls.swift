// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import CLinux
import Glibc
import SystemPackage

/// The system calls of `FileDevice`, so that tests can cut them short and let them fail.
///
/// Each takes the descriptor first; offsets and lengths are bytes. What moves data gives back how much.
struct FileCalls: Sendable {
    typealias Count = Result<Int, Errno>

    var read: @Sendable (Int32, UnsafeMutableRawBufferPointer, Int64) -> Count = { descriptor, memory, offset in
        count(pread(descriptor, memory.baseAddress, memory.count, off_t(offset)))
    }

    /// Bytes of a range, in whole pages, that are in the page cache; `nil` where the kernel can't tell. The offset is that
    /// of a page.
    var cachedLength: @Sendable (Int32, UInt64, UInt64) -> UInt64? = { descriptor, offset, length in
        let pageLength = UInt64(sysconf(Int32(_SC_PAGESIZE)))
        var count: UInt64 = 0
        if clinux_cached_pages(descriptor, offset, length, &count) == 0 { return count &* pageLength }
        // Before Linux 6.5.
        var pages = [UInt8](repeating: 0, count: Int(length.dividedRoundingUp(by: pageLength)))
        guard clinux_resident_pages(descriptor, offset, length, &pages) == 0 else { return nil }
        return pages.reduce(0) { $0 + UInt64($1 & 1) } * pageLength
    }

    var write: @Sendable (Int32, UnsafeRawBufferPointer, Int64) -> Count = { descriptor, memory, offset in
        count(pwrite(descriptor, memory.baseAddress, memory.count, off_t(offset)))
    }

    /// Opens a path for direct I/O, with flags for the access.
    var openDirect: @Sendable (String, Int32) throws(BlockError) -> OwnedDescriptor = {
        (path, flags) throws(BlockError) in
        try OwnedDescriptor(opening: path, flags: flags | clinux_O_DIRECT)
    }

    /// Makes a range of a file a hole; its length stays.
    var punchHole: @Sendable (Int32, Int64, Int64) -> Count = { descriptor, offset, length in
        let mode = clinux_FALLOC_FL_PUNCH_HOLE | clinux_FALLOC_FL_KEEP_SIZE
        return count(Int(clinux_fallocate(descriptor, mode, offset, length)))
    }

    /// Where data begins (`SEEK_DATA`) or a hole (`SEEK_HOLE`), from an offset on.
    var seek: @Sendable (Int32, Int64, Int32) -> Count = { descriptor, offset, kind in
        count(Int(lseek(descriptor, off_t(offset), kind)))
    }

    /// Copies a range from one file, at an offset, to another one.
    var copyRange: @Sendable (Int32, Int64, Int32, Int64, Int) -> Count = { source, from, target, to, length in
        count(Int(clinux_copy_file_range(source, from, target, to, length)))
    }

    /// Has a range of one file share the blocks of another one's: offsets and length are of whole blocks.
    var shareRange: @Sendable (Int32, Int64, Int32, Int64, Int) -> Count = { source, from, target, to, length in
        count(Int(clinux_share_range(source, from, target, to, length)))
    }

    var resize: @Sendable (Int32, Int64) -> Count = { descriptor, length in
        count(Int(ftruncate(descriptor, off_t(length))))
    }

    var sync: @Sendable (Int32) -> Count = { descriptor in
        count(Int(fdatasync(descriptor)))
    }

    /// What a call's result says; its error is the calling thread's last one.
    private static func count(_ result: Int) -> Count {
        result < 0 ? .failure(.current) : .success(result)
    }
}
