// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc
import SystemPackage

/// A file that is open a second time, for direct I/O.
final class DirectDescriptor: Sendable {
    private let descriptor: OwnedDescriptor
    /// Offsets and lengths of direct reads and writes are multiples of this, in bytes.
    let alignment: UInt64

    var rawValue: Int32 { descriptor.rawValue }

    /// Opens the file behind `descriptor` once more; `nil` where its file system takes no direct I/O.
    init?(reopening descriptor: borrowing OwnedDescriptor, isReadOnly: Bool, _ calls: FileCalls) {
        // Through the descriptor, so that it is the same file even if its name has changed hands.
        let path = "/proc/self/fd/\(descriptor.rawValue)"
        guard let direct = try? calls.openDirect(path, isReadOnly ? O_RDONLY : O_RDWR) else { return nil }
        var memory: UInt32 = 0
        var offset: UInt32 = 0
        _ = clinux_direct_io_alignment(direct.rawValue, &memory, &offset)
        // At least a page, so that direct and cached I/O never share one.
        alignment = UInt64(max(offset, UInt32(AlignedBuffer.alignment)))
        self.descriptor = direct
    }

    /// - Returns: the error that closing reports; `nil` for none.
    func close() -> Errno? { descriptor.close() }
}
