// SPDX-License-Identifier: GPL-2.0-or-later

/// A manifest that is on stable storage and closed, and may not have got its name yet.
struct WrittenManifest: Sendable {
    let file: UnnamedFile
    /// Root digest of the content, in hexadecimal digits.
    let content: String
}
