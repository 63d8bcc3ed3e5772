// SPDX-License-Identifier: GPL-2.0-or-later

/// When a file offers to have ranges copied by the kernel.
package enum CopyRangePolicy: Sendable {
    /// Where the file system shares blocks or copies on its server. Elsewhere the kernel's copy goes through the page
    /// cache and is slower than a buffer that is written directly.
    case whereItPays
    case always
    case never

    /// Magic numbers (`statfs.f_type`) of file systems that share blocks or copy on a server.
    private static let payingFileSystems: Set<UInt64> = [
        0x9123_683e,  // btrfs
        0x5846_5342,  // XFS
        0xca45_1a4e,  // bcachefs
        0x7461_636f,  // OCFS2
        0x2fc1_2fc1,  // ZFS
        0x6969,  // NFS
        0xff53_4d42,  // CIFS
        0xfe53_4d42,  // SMB 2 and later
        0x00c3_6400,  // Ceph
    ]

    func offersCopy(onFileSystem type: UInt64?) -> Bool {
        switch self {
        case .whereItPays: type.map(Self.payingFileSystems.contains) ?? false
        case .always: true
        case .never: false
        }
    }
}
