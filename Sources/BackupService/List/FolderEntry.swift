// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FoundationEssentials

/// A regular file of a folder.
struct FolderEntry: Sendable {
    /// Without the folder.
    let name: String
    let path: String
    let identity: StorageIdentity
    let length: UInt64
    let modified: Date

    /// The name as the file system knows it: texts that are equal may be different names.
    var key: [UInt8] { Array(name.utf8) }

    func hasSuffix(_ suffix: String) -> Bool {
        // A suffix alone is no name with it.
        name.utf8.count > suffix.utf8.count && name.utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }

    /// The name without its last characters.
    func key(without suffix: String) -> [UInt8] { Array(name.utf8.dropLast(suffix.utf8.count)) }

    /// Opens the file as it was when the folder was read, and not what has got its name since.
    func open() throws(ServiceError) -> any Storage {
        let file = try translated { () throws(BlockError) in
            try LocalStorage.open(path, access: .readOnly, lock: nil)
        }
        guard file.identity == identity else {
            throw ServiceError(.io, "\(path) was replaced while the folder was read", advice: "list it again")
        }
        return file
    }
}
