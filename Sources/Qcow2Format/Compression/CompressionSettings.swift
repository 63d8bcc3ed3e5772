// SPDX-License-Identifier: GPL-2.0-or-later

/// How to compress clusters.
package struct CompressionSettings: Sendable, Equatable {
    /// Level that both types use where nobody asks for another: the fastest.
    package static let defaultLevel = 1

    package var type: CompressionType
    /// Effort; its meaning depends on the type: `CompressionLevel.table(for:)`.
    package var level: Int

    /// Settings for code that knows a valid level. Whether it is one is checked where a compressor is made.
    package init(type: CompressionType = .zlib, level: Int = Self.defaultLevel) {
        self.type = type
        self.level = level
    }

    /// Settings from what a user typed: the number or the name of a level.
    ///
    /// - Parameter levelText: `nil` stands for the default.
    /// - Throws: `unknownLevel`.
    package init(type: CompressionType, levelText: String?) throws(CompressionSettingsError) {
        guard let levelText else {
            self.init(type: type)
            return
        }
        let table = CompressionLevel.table(for: type)
        let number = Int(levelText)
        for entry in table {
            if let name = entry.name {
                guard name == levelText else { continue }
                self.init(type: type, level: entry.levels.lowerBound)
                return
            }
            guard let number, entry.levels.contains(number) else { continue }
            self.init(type: type, level: number)
            return
        }
        throw .unknownLevel(levelText, type: type)
    }

    /// - Throws: `levelOutOfRange`.
    package func validate() throws(CompressionSettingsError) {
        let range = CompressionLevel.range(for: type)
        guard range.contains(level) else { throw .levelOutOfRange(level, allowed: range, type: type) }
    }
}

/// How an image's compressed clusters are encoded.
///
/// Spec: “Header”, byte 104, compression_type.
package enum CompressionType: UInt8, Sendable, CaseIterable {
    /// Raw deflate with a window of at most 4 KiB.
    case zlib = 0
    case zstd = 1
}

/// Why a compressor can't be made.
package enum CompressionSettingsError: Error, Sendable, Equatable {
    /// What the user typed is neither a number nor a name of a level.
    case unknownLevel(String, type: CompressionType)
    case levelOutOfRange(Int, allowed: ClosedRange<Int>, type: CompressionType)
    /// The library found no memory for its state.
    case outOfMemory(type: CompressionType)
}

extension CompressionSettingsError: CustomStringConvertible {
    package var description: String {
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
