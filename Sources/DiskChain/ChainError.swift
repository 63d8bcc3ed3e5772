// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format

/// Why a disk and what lies behind it could not be opened.
package enum ChainError: Error, Sendable {
    /// A file of the chain, or the storage under it, refused.
    case file(path: String, role: Role, BlockError)
    /// The backing file's format is recorded nowhere, and guessing it would let a guest choose.
    case unknownBackingFormat(backing: String, of: String)
    case unsupportedFormat(path: String, format: String)
    case unusableBackingName(String, of: String, reason: String)
    case loop(path: String)
    case tooDeep(limit: Int)
    /// In one folder a name stands for one file, and two of the chain have it.
    case ambiguousName(String, folder: String)
    case dataFileNotNamed(image: String)
    /// A raw disk has no snapshots.
    case noSnapshots(path: String)
}

extension ChainError {
    /// What a file is in the chain.
    package enum Role: Sendable, Equatable {
        case disk
        case backingFile(of: String)
        case dataFile(of: String)
    }
}

extension ChainError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .file(_, .disk, let error): "\(error)"
        case .file(_, .backingFile(let image), let error): "backing file of \(image): \(error)"
        case .file(_, .dataFile(let image), let error): "data file of \(image): \(error)"
        case .unknownBackingFormat(let backing, let image):
            "\(image) does not record the format of its backing file \(backing)"
        case .unsupportedFormat(let path, let format): "\(path): format '\(format)' is not supported"
        case .unusableBackingName(let name, let image, let reason): "backing file '\(name)' of \(image): \(reason)"
        case .loop(let path): "the backing chain is a loop: \(path) comes again"
        case .tooDeep(let limit): "the backing chain is too long: more than \(limit) images"
        case .ambiguousName(let name, let folder):
            "two files of the chain are called \(name): which of them the one in \(folder) is can't be told"
        case .dataFileNotNamed(let image): "\(image) has an external data file but does not name it"
        case .noSnapshots(let path): "\(path) is a raw disk and has no snapshots"
        }
    }
}
