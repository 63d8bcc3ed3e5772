// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import BackupService

/// What a person may write as a size, and how sizes are shown.
@Suite struct ByteSizeTests {
    @Test(
        arguments: [
            ("0", 0), ("1", 1), ("512", 512), ("512B", 512), ("512b", 512), ("64K", 65536), ("64k", 65536),
            ("64KiB", 65536),
            ("64kib", 65536), ("1M", 1 << 20), ("1.5G", 3 << 29), ("2T", 1 << 41), ("3P", 3 << 50), ("15E", 15 << 60),
            ("0.5K", 512), ("1.0M", 1 << 20), ("0.1K", 102), ("0.0000000001K", 0), ("007", 7), ("0E", 0),
            ("18446744073709551615", UInt64.max), ("15.999999999999999999E", 18_446_744_073_709_551_614),
            ("0.999999999999999999E", 1_152_921_504_606_846_974), ("18014398509481983K", 18_446_744_073_709_550_592),
        ] as [(String, UInt64)])
    func reads(text: String, bytes: UInt64) {
        #expect(ByteSize(parsing: text)?.bytes == bytes)
    }

    @Test(arguments: [
        "", " ", "K", "B", ".", ".5K", "1.", "1.K", "1.5", "1.5B", "-1", "+1", "--1", "-0", "1 K", " 1", "1 ", "1K ",
        "1\n",
        "nan", "NaN", "inf", "infinity", "1e3", "1E3", "0x10", "0b1", "1_000", "1,000", "1,5K", "1.5.5K", "1KK", "1kB",
        "1KB",
        "1Ki", "1iB", "1X", "1Z", "1Y", "1K\0", "\0", "16E", "17E", "18446744073709551616", "18446744073709551615K",
        "99999999999999999999999999999999", "18014398509481984K", "1.0000000000000000000K", "１K", "٣K", "1\u{301}K",
        "1.٣K", "½K", "1K\u{301}",
    ])
    func refuses(text: String) {
        #expect(ByteSize(parsing: text) == nil)
    }

    @Test(
        arguments: [
            (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1 KiB"), (1025, "1 KiB"), (2047, "2 KiB"),
            (1536, "1.5 KiB"),
            (65536, "64 KiB"),
            (102_348, "99.9 KiB"), (102_349, "100 KiB"), (102_400, "100 KiB"), (131_072 + 511, "128 KiB"),
            (131_072 + 512, "129 KiB"),
            (1_048_064, "1 MiB"), (1_048_063, "1023 KiB"), (1_048_575, "1 MiB"), (1 << 20, "1 MiB"),
            (4_080_218_931, "3.8 GiB"), (1 << 40, "1 TiB"), (1 << 50, "1 PiB"), (1 << 60, "1 EiB"),
            ((1 << 60) - 1, "1 EiB"), (.max, "16 EiB"),
        ] as [(UInt64, String)])
    func shows(bytes: UInt64, text: String) {
        #expect(ByteSize(bytes).description == text)
    }

    /// Whole units up to 99 come back as they were written.
    @Test(arguments: ["K", "M", "G", "T", "P"])
    func wholeUnitsComeBack(unit: String) throws {
        for count in 1...99 {
            #expect(try #require(ByteSize(parsing: "\(count)\(unit)")).description == "\(count) \(unit)iB")
        }
    }

    /// No number traps, and no text is longer than a bar reckons with.
    @Test func anyNumberCanBeShown() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<(isHeavyRun ? 10_000 : 500) {
            let bytes = UInt64.random(in: 0 ... .max, using: &random) >> UInt64.random(in: 0..<64, using: &random)
            #expect(ByteSize(bytes).description.count <= 8)
        }
    }
}
