// SPDX-License-Identifier: GPL-2.0-or-later

/// The manifest that a backup was given.
public struct ManifestSummary: Sendable, Equatable {
    public var path: String
    /// Root digest of the content, in hexadecimal digits.
    public var content: String

    public init(path: String, content: String) {
        self.path = path
        self.content = content
    }
}
