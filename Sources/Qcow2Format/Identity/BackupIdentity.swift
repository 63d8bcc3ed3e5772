// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// What a backup says of itself: which one it is, and which one it goes on.
///
/// A header extension of this program's own. QEMU passes over it, and keeps it where it rewrites a header; the copy that
/// another program makes of an image's content has none. So what it says is right, and where nothing is said nothing is
/// known.
package struct BackupIdentity: Sendable, Equatable {
    /// The backup that an increment was made on.
    package struct Parent: Sendable, Equatable {
        /// `nil` where it said none.
        package var id: BackupID?
        /// In bytes.
        package var virtualSize: UInt64
        /// Stands for the backing file's name that was recorded then: an image with another one was put on another file.
        var nameStamp: UInt64 = 0

        package init(id: BackupID?, virtualSize: UInt64) {
            self.id = id
            self.virtualSize = virtualSize
        }
    }

    package var id: BackupID
    /// `nil` for a backup that is no increment.
    package var parent: Parent?

    package init(id: BackupID = BackupID(), parent: Parent? = nil) {
        self.id = id
        self.parent = parent
    }

    /// The version of the layout below. A reader that finds another one knows nothing.
    private static let version: UInt32 = 1
    private static let hasParent: UInt32 = 1
    private static let dataLength = 56

    /// FNV-1a of a name: nobody is to be kept from forging it.
    static func stamp(of name: String?) -> UInt64 {
        (name ?? "").utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    }

    /// `nil` for data that say nothing that we know of.
    init?(decoding data: [UInt8]) {
        guard data.count >= Self.dataLength else { return nil }
        let bytes = data.span.bytes
        do {
            let version: UInt32 = try bytes.bigEndian(at: 0)
            let flags: UInt32 = try bytes.bigEndian(at: 4)
            guard version == Self.version, let id = try BackupID(decoding: bytes, at: 8) else { return nil }
            self.id = id
            guard flags & Self.hasParent != 0 else { return }
            parent = Parent(
                id: try BackupID(decoding: bytes, at: 8 + BackupID.encodedLength),
                virtualSize: try bytes.bigEndian(at: 8 + 2 * BackupID.encodedLength))
            parent?.nameStamp = try bytes.bigEndian(at: 16 + 2 * BackupID.encodedLength)
        } catch {
            return nil
        }
    }

    func encoded() -> HeaderExtension {
        var data: [UInt8] = []
        data.appendBigEndian(Self.version)  // 0
        data.appendBigEndian(parent == nil ? 0 : Self.hasParent)  // 4: flags
        BackupID.append(id, to: &data)  // 8
        BackupID.append(parent?.id, to: &data)  // 24
        data.appendBigEndian(parent?.virtualSize ?? 0)  // 40
        data.appendBigEndian(parent?.nameStamp ?? 0)  // 48
        return HeaderExtension(type: HeaderExtension.backupIdentity, data: data)
    }
}
