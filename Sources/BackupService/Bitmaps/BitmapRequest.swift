// SPDX-License-Identifier: GPL-2.0-or-later

/// What to do with the persistent bitmaps of an image.
package struct BitmapRequest: Sendable {
    package enum Action: Sendable, Equatable {
        /// - Parameter countsDirty: whether to load each bitmap and say how much is dirty.
        case list(countsDirty: Bool)
        /// - Parameters:
        ///   - granularity: in bytes; `nil` chooses.
        ///   - isRecording: whether writes are recorded from now on.
        case add(String, granularity: UInt64?, isRecording: Bool)
        case remove(String)
        case clear(String)
        case enable(String)
        case disable(String)
        /// Makes dirty in `into` whatever is dirty in the sources.
        ///
        /// - Parameter image: path of the image that has the sources; `nil` for the same one.
        case merge([String], image: String?, into: String)
    }

    /// Path of a qcow2 image.
    package var image: String
    package var action: Action
    /// Read although another process writes to the image; for `list` only.
    package var forceShare = false

    package init(image: String, action: Action) {
        self.image = image
        self.action = action
    }
}
