// SPDX-License-Identifier: GPL-2.0-or-later

/// Why a compressor can't be made.
public enum CompressionSettingsError: Error, Sendable, Equatable {
    /// What the user typed is neither a number nor a name of a level.
    case unknownLevel(String, type: CompressionType)
    case levelOutOfRange(Int, allowed: ClosedRange<Int>, type: CompressionType)
    /// The library found no memory for its state.
    case outOfMemory(type: CompressionType)
}

extension CompressionSettingsError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unknownLevel(let text, let type):
            """
            unknown compression level '\(text)' for \(type): use \
            \(CompressionLevel.rangeText(CompressionLevel.range(for: type))) or one of \
            \(CompressionLevel.names(for: type).joined(separator: ", "))
            """
        case .levelOutOfRange(let level, let allowed, let type):
            "compression level \(level) is not one of \(type)'s levels \(CompressionLevel.rangeText(allowed))"
        case .outOfMemory(let type): "no memory for \(type) compression"
        }
    }
}
