// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format
import Testing

/// Levels of compression: what the help offers is what is accepted, and nothing else is.
@Suite struct CompressionSettingsTests {
    @Test(arguments: [
        (CompressionType.zlib, "fast", 1), (.zlib, "default", 1), (.zlib, "balanced", 3), (.zlib, "best", 9),
        (.zlib, "1", 1), (.zlib, "6", 6), (.zlib, "9", 9),
        (.zstd, "fast", 1), (.zstd, "default", 1), (.zstd, "balanced", 4), (.zstd, "best", 19),
        (.zstd, "1", 1), (.zstd, "12", 12), (.zstd, "19", 19),
    ])
    func `a name or a number gives its level`(type: CompressionType, text: String, level: Int) throws {
        let settings = try CompressionSettings(type: type, levelText: text)
        #expect(settings == CompressionSettings(type: type, level: level))
    }

    @Test(arguments: CompressionType.allCases)
    func `no text gives the default, which is valid`(type: CompressionType) throws {
        let settings = try CompressionSettings(type: type, levelText: nil)
        #expect(settings == CompressionSettings(type: type))
        try settings.validate()
    }

    @Test(
        arguments: CompressionType.allCases, ["", "0", "-1", "20", "99999999999999999999", "1.5", " 1", "Fast", "1-3"])
    func `anything else is refused by name`(type: CompressionType, text: String) {
        #expect(throws: CompressionSettingsError.unknownLevel(text, type: type)) {
            try CompressionSettings(type: type, levelText: text)
        }
    }

    @Test func `zlib has no level 10`() {
        #expect(throws: CompressionSettingsError.unknownLevel("10", type: .zlib)) {
            try CompressionSettings(type: .zlib, levelText: "10")
        }
    }

    @Test(arguments: CompressionType.allCases, [Int.min, -1, 0, 20, Int.max])
    func `a compressor of an unknown level is not made`(type: CompressionType, level: Int) {
        let error = CompressionSettingsError.levelOutOfRange(
            level, allowed: CompressionLevel.range(for: type), type: type)
        #expect(throws: error) {
            _ = try ClusterCompressor(CompressionSettings(type: type, level: level), clusterSize: 65536)
        }
    }

    @Test(arguments: CompressionType.allCases)
    func `the numbered rows cover each level once, and each name means one of them`(type: CompressionType) throws {
        let table = CompressionLevel.table(for: type)
        let numbers = table.filter { $0.name == nil }.flatMap { Array($0.levels) }
        #expect(numbers == Array(CompressionLevel.range(for: type)))
        let names = CompressionLevel.names(for: type)
        #expect(Set(names).count == names.count)
        for number in numbers {
            #expect(try CompressionSettings(type: type, levelText: "\(number)").level == number)
        }
        for entry in table.filter({ $0.name != nil }) {
            #expect(entry.levels.count == 1 && numbers.contains(entry.levels.lowerBound))
        }
    }

    @Test func `the help has a line for each row`() {
        let lines = CompressionLevel.helpText.split(separator: "\n")
        let rows = CompressionType.allCases.flatMap { CompressionLevel.table(for: $0) }
        #expect(lines.count == rows.count + CompressionType.allCases.count)
        for row in rows {
            let label = row.name ?? "\(row.levels.lowerBound)-\(row.levels.upperBound)"
            #expect(lines.contains { $0.hasPrefix("  \(label) ") && $0.hasSuffix(row.summary) })
        }
    }

    @Test func `errors say what to use`() {
        #expect(
            "\(CompressionSettingsError.unknownLevel("x", type: .zlib))"
                == "unknown compression level 'x' for zlib: use 1-9 or one of default, fast, balanced, best")
        #expect(
            "\(CompressionSettingsError.levelOutOfRange(20, allowed: 1...19, type: .zstd))"
                == "compression level 20 is not one of zstd's levels 1-19")
    }
}
