// SPDX-License-Identifier: GPL-2.0-or-later

/// Why an operation failed, for a person and for a script.
public struct ServiceError: Error, Sendable, Equatable {
    /// Stable names that scripts may rely on.
    public enum Code: String, Sendable, CaseIterable {
        /// The request contradicts itself or asks for what can't be.
        case usage
        /// Another process uses the image.
        case locked
        case notFound = "not-found"
        case exists
        case permission
        /// No space, or a limit of the file system or a quota.
        case noSpace = "no-space"
        /// A bitmap can't be relied on.
        case inconsistent
        /// The backup is complete and on stable storage, but its bitmap is not what it should be.
        case bitmapNotUpdated = "bitmap-not-updated"
        /// An image breaks the rules of its format.
        case corrupt
        /// An image is valid but uses what this program does not support.
        case unsupported
        case cancelled
        /// The system failed to read or write.
        case io
    }

    public let code: Code
    /// One line: what failed, on which file, why.
    public let message: String
    /// What to do about it, where there is something.
    public let advice: String?

    public init(_ code: Code, _ message: String, advice: String? = nil) {
        self.code = code
        self.message = message
        self.advice = advice
    }
}
