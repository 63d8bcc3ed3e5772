// SPDX-License-Identifier: GPL-2.0-or-later

/// The folder to which all files of a chain were moved.
///
/// What an image names is looked for there by the last part of the name alone: no recorded folder is followed, so nothing
/// outside is opened unless a symbolic link in the folder leads there.
package struct ChainFolder: Sendable, Equatable {
    package let path: String

    package init(path: String) {
        self.path = path
    }

    /// Where a file is that an image names; `nil` for a name that ends in no file's name.
    package func path(of name: String) -> String? {
        let last = Self.lastPart(of: name)
        guard !last.isEmpty, last != ".", last != ".." else { return nil }
        return path.utf8.last == UInt8(ascii: "/") ? path + last : path + "/" + last
    }

    /// What stands behind the last slash.
    static func lastPart(of name: String) -> String {
        // Byte by byte, as the file system does: a slash with a combining mark behind it is no Character of its own.
        let parts = name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        return parts.last.map { String(Substring($0)) } ?? ""
    }
}

/// Names of files as images record them.
package enum ImagePath {
    /// The path of a file that an image names: relative names start in the image's folder.
    package static func resolve(_ name: String, relativeTo image: String) -> String {
        guard !name.hasPrefix("/"), let slash = image.lastIndex(of: "/") else { return name }
        return image[...slash] + name
    }
}
