// SPDX-License-Identifier: GPL-2.0-or-later

/// What the JSON file of a fixture states. Keys are written with hyphens, as in qemu-img's JSON.
package struct FixtureFacts: Codable, Sendable, Equatable {
    /// One entry of `qemu-img map --output=json`. Offsets and lengths are in bytes.
    package struct MapEntry: Codable, Sendable, Equatable {
        package var start: UInt64
        package var length: UInt64
        package var depth: Int
        package var present: Bool
        package var zero: Bool
        package var data: Bool
        package var compressed: Bool?
        package var offset: UInt64?
    }

    /// Outcome of `qemu-img check`.
    package struct Check: Codable, Sendable, Equatable {
        package var exitCode: Int32

        private enum CodingKeys: String, CodingKey {
            case exitCode = "exit-code"
        }
    }

    /// How the program must refuse the image.
    package struct Refusal: Codable, Sendable, Equatable {
        package var exitCode: Int32
        package var messageContains: [String]

        private enum CodingKeys: String, CodingKey {
            case exitCode = "exit-code"
            case messageContains = "message-contains"
        }
    }

    package enum Format: String, Codable, Sendable {
        case qcow2, raw
    }

    package var description: String
    /// Commands that made the image.
    package var commands: [String]
    /// Name of the image's file, beside the description.
    package var file: String
    package var format: Format
    /// What `qcowbackup` must be given in addition.
    package var arguments: [String]
    /// In bytes.
    package var virtualSize: UInt64?
    /// In bytes.
    package var clusterSize: UInt64?
    package var map: [MapEntry]?
    /// Digest of what a guest sees, in hexadecimal.
    package var sha256: String?
    package var check: Check?
    /// `nil` where the image must be accepted.
    package var error: Refusal?
    /// What listing the image's bitmaps says, where they are damaged; the disk itself can be read.
    package var bitmaps: Refusal?

    private enum CodingKeys: String, CodingKey {
        case description, commands, file, format, arguments, map, sha256, check, error, bitmaps
        case virtualSize = "virtual-size"
        case clusterSize = "cluster-size"
    }
}
