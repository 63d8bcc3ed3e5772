// SPDX-License-Identifier: GPL-2.0-or-later

/// A row of the table of compression levels: a name for one level, or a range of numbers.
///
/// The table is the only place that says which levels exist, so the help text and the checks can't differ.
package struct CompressionLevel: Sendable, Equatable {
    /// What a user may write instead of the number; `nil` for a row that describes a range of numbers.
    package let name: String?
    /// The numbers that the row covers: one number for a name.
    package let levels: ClosedRange<Int>
    /// What the level does, in a few words.
    package let summary: String

    /// The rows for one type, names first.
    package static func table(for type: CompressionType) -> [CompressionLevel] {
        switch type {
        case .zlib: zlibTable
        case .zstd: zstdTable
        }
    }

    /// All numbers that are levels of the type.
    package static func range(for type: CompressionType) -> ClosedRange<Int> {
        let ranges = table(for: type).map(\.levels)
        let lowest = ranges.map(\.lowerBound).min() ?? CompressionSettings.defaultLevel
        let highest = ranges.map(\.upperBound).max() ?? lowest
        return lowest...highest
    }

    /// The words that a user may write for a level of the type.
    package static func names(for type: CompressionType) -> [String] {
        table(for: type).compactMap(\.name)
    }

    /// The tables of both types as text for a command's help: a heading for each type, then a line for each row.
    package static let helpText: String = CompressionType.allCases.map { type in
        let lines = table(for: type).map { entry in
            let label = entry.name ?? rangeText(entry.levels)
            let padding = String(repeating: " ", count: max(1, 10 - label.count))
            let meaning = entry.name == nil ? entry.summary : "\(entry.levels.lowerBound), \(entry.summary)"
            return "  \(label)\(padding)\(meaning)"
        }
        return (["\(type):"] + lines).joined(separator: "\n")
    }.joined(separator: "\n")

    static func rangeText(_ range: ClosedRange<Int>) -> String {
        range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
    }

    private static func named(_ name: String, _ level: Int, _ summary: String) -> CompressionLevel {
        CompressionLevel(name: name, levels: level...level, summary: summary)
    }

    private static func numbered(_ levels: ClosedRange<Int>, _ summary: String) -> CompressionLevel {
        CompressionLevel(name: nil, levels: levels, summary: summary)
    }

    private static let zlibTable: [CompressionLevel] =
        [
            named("default", CompressionSettings.defaultLevel, "the same as fast"),
            named("fast", 1, "the fastest"),
            named("balanced", 3, "a little smaller"),
            named("best", 9, "the smallest, slow"),
        ]
        + (fastDeflateIsAvailable
            ? [numbered(1...3, "ISA-L, many times faster than zlib"), numbered(4...9, "zlib's own levels")]
            : [numbered(1...9, "zlib's own levels")])

    private static let zstdTable = [
        named("default", CompressionSettings.defaultLevel, "the same as fast"),
        named("fast", 1, "the fastest"),
        named("balanced", 4, "smaller, and still fast"),
        named("best", 19, "the smallest, very slow"),
        numbered(1...19, "zstd's own levels"),
    ]

    /// Whether ISA-L compresses the lowest levels of the zlib type.
    static var fastDeflateIsAvailable: Bool {
        #if canImport(CISAL)
            true
        #else
            false
        #endif
    }
}
