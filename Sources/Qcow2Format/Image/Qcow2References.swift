// SPDX-License-Identifier: GPL-2.0-or-later

/// What an image's header says about other files, read before the image is opened.
public struct Qcow2References: Sendable, Equatable {
    /// As recorded; `nil` for an image that stands alone.
    public let backingFileName: String?
    /// Whether the backing file's name is text. Others can be shown, not followed.
    public let hasTextualBackingFileName: Bool
    /// `nil` where the image records none.
    public let backingFormat: String?
    /// As recorded; `nil` for an image without an external data file, or one that does not name it.
    public let dataFileName: String?
    public let hasExternalDataFile: Bool
}
