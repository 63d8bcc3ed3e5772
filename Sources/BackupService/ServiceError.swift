// SPDX-License-Identifier: GPL-2.0-or-later

/// Why an operation failed, for a person and for a script.
package struct ServiceError: Error, Sendable {
    /// Stable names that scripts may rely on.
    package enum Code: String, Sendable, CaseIterable {
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

    package let code: Code
    /// One line: what failed, on which file, why.
    package let message: String
    /// What to do about it, where there is something.
    package let advice: String?
    /// The error of the layer below that it comes of; `nil` for what was found out here.
    package let underlying: (any Error)?

    package init(_ code: Code, _ message: String, advice: String? = nil, underlying: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.advice = advice
        self.underlying = underlying
    }
}

extension ServiceError {
    /// The same error with other advice.
    func advising(_ advice: String?) -> ServiceError {
        ServiceError(code, message, advice: advice, underlying: underlying)
    }
}

extension ServiceError: Equatable {
    /// Equal are errors that tell the user the same.
    package static func == (one: ServiceError, other: ServiceError) -> Bool {
        one.code == other.code && one.message == other.message && one.advice == other.advice
    }
}
