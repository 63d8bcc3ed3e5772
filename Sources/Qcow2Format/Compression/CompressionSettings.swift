// SPDX-License-Identifier: GPL-2.0-or-later

/// How to compress clusters.
public struct CompressionSettings: Sendable, Equatable {
    /// Level that both types use where nobody asks for another: the fastest.
    public static let defaultLevel = 1

    public var type: CompressionType
    /// Effort; its meaning depends on the type: `CompressionLevel.table(for:)`.
    public var level: Int

    /// Settings for code that knows a valid level. Whether it is one is checked where a compressor is made.
    public init(type: CompressionType = .zlib, level: Int = Self.defaultLevel) {
        self.type = type
        self.level = level
    }

    /// Settings from what a user typed: the number or the name of a level.
    ///
    /// - Parameter levelText: `nil` stands for the default.
    /// - Throws: `unknownLevel`.
    public init(type: CompressionType, levelText: String?) throws(CompressionSettingsError) {
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
    public func validate() throws(CompressionSettingsError) {
        let range = CompressionLevel.range(for: type)
        guard range.contains(level) else { throw .levelOutOfRange(level, allowed: range, type: type) }
    }
}
