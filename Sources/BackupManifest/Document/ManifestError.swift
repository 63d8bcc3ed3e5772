// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// Why a manifest can't be used.
package enum ManifestError: Error, Sendable {
    /// The file begins otherwise.
    case notAManifest
    /// Made by a later version of the program.
    case newerVersion(String)
    /// The line that describes the backup can't be read.
    case badHeader(String)
    /// A digest algorithm that is not known here.
    case unknownDigest(String)
    /// It ends before, or behind, what its header says.
    case wrongLength(found: UInt64, expected: UInt64)
    /// Some byte of it is not as it was written.
    case brokenSeal
    /// The digests are not those of such a disk.
    case badBody
    /// Its file can't be read.
    case unreadable(BlockError)
}

extension ManifestError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notAManifest: "it is no manifest"
        case .newerVersion(let version): "its format is version \(version), which this program doesn't know"
        case .badHeader(let reason): "its header can't be read: \(reason)"
        case .unknownDigest(let name): "its digest algorithm '\(name)' is not known"
        case .wrongLength(let found, let expected) where found < expected:
            "it was cut off: \(found) of \(expected) bytes are there"
        case .wrongLength(let found, let expected): "it has \(found) bytes and should have \(expected)"
        case .brokenSeal: "it was changed or damaged: its seal doesn't fit"
        case .badBody: "its digests make no sense for the disk that it describes"
        case .unreadable(let error): "it can't be read: \(error)"
        }
    }
}

extension ManifestError: Equatable {
    package static func == (one: ManifestError, other: ManifestError) -> Bool { one.description == other.description }
}

/// A file gave back other bytes than were written to it: a manifest made of them would prove nothing.
package struct ReadBackError: LayerError {
    package let path: String

    package var errno: Errno { .ioError }

    package var description: String { "\(path): the file gives back other bytes than were written to it" }
}
