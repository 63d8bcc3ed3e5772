// SPDX-License-Identifier: GPL-2.0-or-later

import FoundationEssentials

/// What a manifest says of its backup, but for the digests: the JSON line of the document.
package struct ManifestHeader: Sendable, Equatable, Codable {
    /// The file that was written.
    package struct Target: Sendable, Equatable, Codable {
        /// Without its folder: backups are moved together with their manifests.
        package var name: String
        package var format: String
        /// Of a raw file, which can't say itself which backup it is: its length in bytes, and when it was last written, in
        /// nanoseconds since 1970. `nil` for all else.
        package var length: UInt64?
        package var modified: Int64?

        package init(name: String, format: String, length: UInt64? = nil, modified: Int64? = nil) {
            self.name = name
            self.format = format
            self.length = length
            self.modified = modified
        }
    }

    /// The disk that was read.
    package struct Source: Sendable, Equatable, Codable {
        package var path: String
        package var format: String
        /// Internal snapshot that was read; `nil` for the active state.
        package var snapshot: String?
        /// Length of the file in bytes.
        package var length: UInt64
        /// Nanoseconds since 1970 when the file was last written; `nil` where that is not known.
        package var modified: Int64?

        package init(path: String, format: String, snapshot: String?, length: UInt64, modified: Int64?) {
            self.path = path
            self.format = format
            self.snapshot = snapshot
            self.length = length
            self.modified = modified
        }
    }

    /// The bitmap that the backup was made by, or for.
    package struct Bitmap: Sendable, Equatable, Codable {
        package var name: String
        package var mode: String

        package init(name: String, mode: String) {
            self.name = name
            self.mode = mode
        }
    }

    /// What the backup is based on.
    package struct Parent: Sendable, Equatable, Codable {
        /// As the target records it.
        package var name: String
        /// `nil` where it says none.
        package var id: String?
        package var virtualSize: UInt64
        /// Root digest of the parent's content; `nil` where it has no manifest.
        package var content: String?

        package init(name: String, id: String?, virtualSize: UInt64, content: String?) {
            self.name = name
            self.id = id
            self.virtualSize = virtualSize
            self.content = content
        }

        enum CodingKeys: String, CodingKey {
            case name, id, content
            case virtualSize = "virtual-size"
        }
    }

    /// A part of the disk, in bytes.
    package struct Extent: Sendable, Equatable, Codable {
        package var start: UInt64
        package var length: UInt64

        package init(_ range: Range<UInt64>) {
            start = range.lowerBound
            length = range.upperBound - range.lowerBound
        }
    }

    /// Which backup it is: 32 hexadecimal digits, as the target has them if its format can hold them.
    package var id: String
    /// When the backup was complete.
    package var created: Date
    /// Program and version.
    package var writer: String
    package var target: Target
    package var source: Source
    /// `full`, `top`, `incremental` or `bitmap`.
    package var sync: String
    package var bitmap: Bitmap?
    package var parent: Parent?
    /// Length of the disk in bytes.
    package var virtualSize: UInt64
    /// Whether the backup holds the whole disk, and not only what it has over its parent.
    package var isWhole: Bool
    /// What could not be read; the backup holds zeroes there. Not more than the first hundred.
    package var unreadable: [Extent]
    package var digest: String
    /// Bytes of a range that has a digest, and of the units that it is made of.
    package internal(set) var rangeLength = ContentGeometry.rangeLength
    package internal(set) var unitLength = ContentGeometry.unitLength
    /// Root digest of the content.
    package internal(set) var content = ""
    /// Bytes of the document behind this line, without the seal.
    package internal(set) var bodyLength: UInt64 = 0

    package init(
        id: String, created: Date, writer: String, target: Target, source: Source, sync: String, bitmap: Bitmap?,
        parent: Parent?, unreadable: [Range<UInt64>], content summary: RecordedContent.Summary
    ) {
        self.id = id
        self.created = created
        self.writer = writer
        self.target = target
        self.source = source
        self.sync = sync
        self.bitmap = bitmap
        self.parent = parent
        self.unreadable = unreadable.prefix(100).map(Extent.init)
        virtualSize = summary.virtualSize
        isWhole = summary.isWhole
        digest = summary.algorithm.rawValue
        content = summary.root.description
        bodyLength = summary.bodyLength
    }

    enum CodingKeys: String, CodingKey {
        case id, created, writer, target, source, sync, bitmap, parent, unreadable, digest, content
        case virtualSize = "virtual-size"
        case isWhole = "whole-disk"
        case rangeLength = "range"
        case unitLength = "unit"
        case bodyLength = "body-length"
    }
}
