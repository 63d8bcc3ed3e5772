// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Since which backup a bitmap counts: an increment by the bitmap goes on that one and no other.
///
/// Kept in a header extension of the disk's image, of this program's own, that changes in the same write as the bitmap.
/// QEMU keeps it as it is, also where it clears or removes the bitmap, so it tells of a wrong parent and proves none.
package struct BitmapOrigin: Sendable, Equatable {
    /// The backup that was made when the bitmap was last cleared; `nil` for one that can't say which it is.
    package var backup: BackupID?
    /// What the files behind the disk's own looked like then; see whoever makes it. 0 for a disk that stands alone.
    package var backingStamp: UInt64
    /// Whether the bitmap has been disabled since, as far as is known: writes made then are missing from it.
    package var wasDisabled = false

    package init(backup: BackupID?, backingStamp: UInt64) {
        self.backup = backup
        self.backingStamp = backingStamp
    }
}

/// The origins of an image's bitmaps, by the bytes of their names, in the order in which they were set.
struct BitmapOrigins: Sendable, Equatable {
    private struct Entry: Sendable, Equatable {
        var name: [UInt8]
        var origin: BitmapOrigin
    }

    private var entries: [Entry] = []

    /// Most bytes of the extension's data. What is more than that has its oldest entries left out, as the header and a
    /// backing file's name need room as well.
    private static let maximumLength = 4096
    private static let version: UInt32 = 1
    /// Bytes of an entry before its name.
    private static let entryLength = BackupID.encodedLength + 16
    private static let wasDisabled: UInt32 = 1

    subscript(name: [UInt8]) -> BitmapOrigin? {
        get { entries.first { $0.name == name }?.origin }
        set {
            entries.removeAll { $0.name == name }
            if let newValue { entries.append(Entry(name: name, origin: newValue)) }
        }
    }

    /// Notes that a bitmap was disabled, also where it isn't known since when it counts. The order stays.
    mutating func noteDisabled(_ name: [UInt8]) {
        if let index = entries.firstIndex(where: { $0.name == name }) {
            entries[index].origin.wasDisabled = true
        } else {
            var origin = BitmapOrigin(backup: nil, backingStamp: 0)
            origin.wasDisabled = true
            self[name] = origin
        }
    }

    /// The backups that bitmaps were set to count from after the one of that name was.
    func backups(after name: [UInt8]) -> [BackupID] {
        guard let index = entries.firstIndex(where: { $0.name == name }) else { return [] }
        return entries[(index + 1)...].compactMap(\.origin.backup)
    }

    init() {}

    /// What is not understood is not known.
    init(decoding data: [UInt8]) {
        // No more than is ever written: a header may be of any length.
        let data = Array(data.prefix(Self.maximumLength))
        let bytes = data.span.bytes
        guard let version: UInt32 = try? bytes.bigEndian(at: 0), version == Self.version else { return }
        var offset = 8
        do {
            while offset + Self.entryLength <= data.count {
                let backup = try BackupID(decoding: bytes, at: offset)
                let stamp: UInt64 = try bytes.bigEndian(at: offset + BackupID.encodedLength)
                let length: UInt32 = try bytes.bigEndian(at: offset + BackupID.encodedLength + 8)
                let flags: UInt32 = try bytes.bigEndian(at: offset + BackupID.encodedLength + 12)
                guard length > 0, length <= Qcow2Limits.bitmapNameLength else { return }
                let start = offset + Self.entryLength
                let name = try bytes.bytes(at: start, count: Int(length))
                var origin = BitmapOrigin(backup: backup, backingStamp: stamp)
                origin.wasDisabled = flags & Self.wasDisabled != 0
                self[name] = origin
                offset = start + (Int(length) + 7) & ~7
            }
        } catch {
            // Cut off: what came before it counts.
        }
    }

    /// `nil` for none.
    func encoded() -> HeaderExtension? {
        guard !entries.isEmpty else { return nil }
        var parts: [[UInt8]] = []
        var length = 8
        for entry in entries.reversed() {
            var part: [UInt8] = []
            BackupID.append(entry.origin.backup, to: &part)
            part.appendBigEndian(entry.origin.backingStamp)
            part.appendBigEndian(UInt32(entry.name.count))
            part.appendBigEndian(entry.origin.wasDisabled ? Self.wasDisabled : 0)  // flags
            part += entry.name + [UInt8](repeating: 0, count: -entry.name.count & 7)
            length += part.count
            if length > Self.maximumLength { break }
            parts.append(part)
        }
        var data: [UInt8] = []
        data.appendBigEndian(Self.version)  // 0
        data.appendBigEndian(UInt32(0))  // 4: reserved
        for part in parts.reversed() { data += part }
        return HeaderExtension(type: HeaderExtension.bitmapOrigins, data: data)
    }
}
