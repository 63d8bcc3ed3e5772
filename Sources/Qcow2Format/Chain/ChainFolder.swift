// SPDX-License-Identifier: GPL-2.0-or-later

/// The folder to which all files of a chain were moved.
///
/// What an image names is looked for there by the last part of the name alone: no recorded folder is followed, so nothing
/// outside is opened unless a symbolic link in the folder leads there.
public struct ChainFolder: Sendable, Equatable {
    public let path: String

    public init(path: String) {
        self.path = path
    }

    /// Where a file is that an image names; `nil` for a name that ends in no file's name.
    public func path(of name: String) -> String? {
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
