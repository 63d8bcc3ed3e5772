// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// The persistent dirty bitmaps of an image file.
///
/// Bitmaps are never changed where they are. New bits, tables and a new directory go to clusters that were free; once all
/// that and the refcounts are durable, the header is made to lead to the new directory, in one sector; then the old
/// clusters are given back. So a crash at any moment leaves every bitmap as it was or as it was to become, and clusters
/// that nothing leads to at worst.
package final class PersistentBitmaps: Sendable {
    struct State {
        var entries: [BitmapDirectoryEntry]
        /// Where the directory is; `nil` where there is none.
        var location: BitmapsExtension?
        /// Since when the bitmaps count.
        var origins = BitmapOrigins()
        var warnings: [String] = []
        /// Names of the bitmaps that were marked in use here, and not by someone who crashed.
        var marked: Set<[UInt8]> = []
        /// Why nothing can be changed any more.
        var isBroken = false
    }

    /// Reads directories, tables and bits.
    let reader: BitmapReader
    /// `nil` where the image is open for reading.
    let metadata: Qcow2Metadata?
    /// Bytes that the file had when it was opened.
    let initialFileLength: UInt64
    let state: Locked<State>

    init(reader: BitmapReader, metadata: Qcow2Metadata?, state: State) {
        self.reader = reader
        self.metadata = metadata
        initialFileLength = reader.file.length
        self.state = Locked(state)
    }

    /// All bitmaps, in the order of the directory.
    package var list: [PersistentBitmap] {
        state.withLock { $0.entries }.map(PersistentBitmap.init)
    }

    /// The bitmap of a name; `nil` where there is none.
    package subscript(name: String) -> PersistentBitmap? {
        let entries = state.withLock { $0.entries }
        return Self.index(of: name, in: entries).map { PersistentBitmap(entries[$0]) }
    }

    /// What the user should know, one line each: clusters that leaked.
    package var warnings: [String] { state.withLock { $0.warnings } }

    /// Since which backup a bitmap counts; `nil` where that is not known.
    package func origin(of name: String) -> BitmapOrigin? {
        state.withLock { state in
            Self.index(of: name, in: state.entries).flatMap { state.origins[state.entries[$0].nameBytes] }
        }
    }

    /// The backups that other bitmaps were set to count from after that bitmap was, in order.
    package func originsSince(_ name: String) -> [BackupID] {
        state.withLock { state in
            Self.index(of: name, in: state.entries).map {
                state.origins.backups(after: state.entries[$0].nameBytes)
            } ?? []
        }
    }

    /// Loads the bits of a bitmap.
    ///
    /// - Throws: `BlockError.layer` with a `Qcow2Error`: there is no such bitmap, it has a defect, its table breaks the
    ///   format.
    package func load(_ name: String) async throws(BlockError) -> DirtyBitmap {
        let entries = state.withLock { $0.entries }
        return try await reader.load(entries[try index(of: name, in: entries)])
    }

    func index(of name: String, in entries: [BitmapDirectoryEntry]) throws(BlockError) -> Int {
        guard let index = Self.index(of: name, in: entries) else {
            throw reader.failure(.bitmapNotFound(name, available: entries.map(\.name)))
        }
        return index
    }

    /// Compares names byte by byte, since what looks alike to a person may be two names; and as they are listed, where
    /// that leaves no doubt.
    static func index(of name: String, in entries: [BitmapDirectoryEntry]) -> Int? {
        if let index = entries.firstIndex(where: { $0.nameBytes.elementsEqual(name.utf8) }) { return index }
        let listed = entries.indices.filter { entries[$0].name.utf8.elementsEqual(name.utf8) }
        return listed.count == 1 ? listed[0] : nil
    }

    /// Gives back what the file was given and did not need. Nothing may be changed afterwards.
    package func close() async throws(BlockError) {
        guard let metadata else { return }
        try await metadata.changes.withLock { () async throws(BlockError) in
            try await metadata.trim(to: initialFileLength)
        }
    }
}

/// What an image says about one of its persistent bitmaps.
package struct PersistentBitmap: Sendable, Equatable {
    /// As it is stored; what is no text becomes replacement characters. It may hold anything: see to it before a terminal
    /// does.
    package let name: String
    /// Bytes that one bit stands for.
    package let granularity: UInt64
    /// The `auto` flag: whoever writes to the disk must record it. Says nothing where there is a defect.
    package let isRecording: Bool
    /// Why the bitmap can't be relied on; `nil` where it can.
    package let defect: BitmapDefect?

    init(_ entry: BitmapDirectoryEntry) {
        name = entry.name
        granularity = 1 << UInt64(entry.granularityBits)
        isRecording = entry.flags.contains(.auto)
        defect = entry.defect
    }
}
