// SPDX-License-Identifier: GPL-2.0-or-later

/// A POSIX access control list as the kernel stores it, in little-endian: a version of 4 bytes, then entries of 8: tag (2),
/// permissions (2), id (4).
struct AccessControlList {
    private(set) var bytes: [UInt8]

    private static let headLength = 4
    private static let entryLength = 8
    private static let groupTag: UInt16 = 0x04
    private static let maskTag: UInt16 = 0x10

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    private func entry(_ tag: UInt16) -> Int? {
        stride(from: Self.headLength, through: bytes.count - Self.entryLength, by: Self.entryLength).first {
            UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8 == tag
        }
    }

    /// Takes all rights from the file's own group.
    mutating func clearGroup() {
        guard let entry = entry(Self.groupTag) else { return }
        (bytes[entry + 2], bytes[entry + 3]) = (0, 0)
    }

    /// What the file's own group may do, as bits of a mode.
    ///
    /// - Parameter mode: of the file; its group bits are the list's mask.
    func groupMode(within mode: UInt32) -> UInt32 {
        guard let group = entry(Self.groupTag) else { return 0 }
        let mask = entry(Self.maskTag).map { bytes[$0 + 2] } ?? 7
        return UInt32(bytes[group + 2] & mask & 7) << 3 & mode
    }
}
