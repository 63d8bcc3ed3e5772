// SPDX-License-Identifier: GPL-2.0-or-later

/// What the JSON file of a fixture states. Keys are written with hyphens, as in qemu-img's JSON.
public struct FixtureFacts: Codable, Sendable, Equatable {
    /// One entry of `qemu-img map --output=json`. Offsets and lengths are in bytes.
    public struct MapEntry: Codable, Sendable, Equatable {
        public var start: UInt64
        public var length: UInt64
        public var depth: Int
        public var present: Bool
        public var zero: Bool
        public var data: Bool
        public var compressed: Bool?
        public var offset: UInt64?
    }

    /// Outcome of `qemu-img check`.
    public struct Check: Codable, Sendable, Equatable {
        public var exitCode: Int32

        private enum CodingKeys: String, CodingKey {
            case exitCode = "exit-code"
        }
    }

    /// How the program must refuse the image.
    public struct Refusal: Codable, Sendable, Equatable {
        public var exitCode: Int32
        public var messageContains: [String]

        private enum CodingKeys: String, CodingKey {
            case exitCode = "exit-code"
            case messageContains = "message-contains"
        }
    }

    public enum Format: String, Codable, Sendable {
        case qcow2, raw
    }

    public var description: String
    /// Commands that made the image.
    public var commands: [String]
    /// Name of the image's file, beside the description.
    public var file: String
    public var format: Format
    /// What `qcowbackup` must be given in addition.
    public var arguments: [String]
    /// In bytes.
    public var virtualSize: UInt64?
    /// In bytes.
    public var clusterSize: UInt64?
    public var map: [MapEntry]?
    /// Digest of what a guest sees, in hexadecimal.
    public var sha256: String?
    public var check: Check?
    /// `nil` where the image must be accepted.
    public var error: Refusal?
    /// What listing the image's bitmaps says, where they are damaged; the disk itself can be read.
    public var bitmaps: Refusal?

    private enum CodingKeys: String, CodingKey {
        case description, commands, file, format, arguments, map, sha256, check, error, bitmaps
        case virtualSize = "virtual-size"
        case clusterSize = "cluster-size"
    }
}
