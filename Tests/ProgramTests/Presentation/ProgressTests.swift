// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import TestSupport
import Testing

@testable import qcowbackup

/// Percent, rate, time left and the line that shows them.
@Suite struct ProgressTests {
    private static func report(_ offset: UInt64, of length: UInt64, rate: UInt64 = 0) -> ProgressReport {
        ProgressReport(BackupProgress(offset: offset, length: length), bytesPerSecond: rate)
    }

    @Test(
        arguments: [
            (0, 0, " 0.0%"), (0, 100, " 0.0%"), (1, 1000, " 0.1%"), (1, 1001, " 0.0%"), (423, 1000, "42.3%"),
            (999, 1000, "99.9%"), (1000, 1000, "99.9%"), (2000, 1000, "99.9%"), (1, 0, " 0.0%"), (.max, .max, "99.9%"),
            (.max - 1, .max, "99.9%"), (.max / 2, .max, "50.0%"),
        ] as [(UInt64, UInt64, String)])
    func percent(offset: UInt64, length: UInt64, text: String) {
        #expect(Self.report(offset, of: length).percent == text)
    }

    @Test func onlyACompleteRunIsAHundredPercent() {
        for progress in [(0, 0), (5, 10), (10, 10), (20, 10)].map(BackupProgress.init(offset:length:)) {
            let report = ProgressReport.complete(progress, bytesPerSecond: 1)
            #expect(report.percent == "100.0%")
            #expect(report.offset == report.length)
            #expect(report.offset == max(progress.offset, progress.length))
        }
    }

    @Test(
        arguments: [
            (0, 0, 5, nil), (0, 10, 0, nil), (0, 10, 5, 2), (0, 11, 5, 3), (10, 10, 0, 0), (12, 10, 5, 0),
            (0, .max, 1, .max),
            (0, .max, .max, 1),
        ] as [(UInt64, UInt64, UInt64, UInt64?)])
    func secondsLeft(offset: UInt64, length: UInt64, rate: UInt64, seconds: UInt64?) {
        #expect(Self.report(offset, of: length, rate: rate).secondsLeft == seconds)
    }

    @Test(arguments: [
        (80, "42.3% [===========>               ]   1.6 GiB of 3.8 GiB   812 MiB/s  0:03 left"),
        (63, "42.3% [====>     ]   1.6 GiB of 3.8 GiB   812 MiB/s  0:03 left"),
        (62, "42.3%   1.6 GiB of 3.8 GiB   812 MiB/s  0:03 left"),
        (50, "42.3%   1.6 GiB of 3.8 GiB   812 MiB/s  0:03 left"),
        (49, "42.3%   1.6 GiB of 3.8 GiB   812 MiB/s"),
        (39, "42.3%   1.6 GiB of 3.8 GiB   812 MiB/s"),
        (38, "42.3%   1.6 GiB of 3.8 GiB"),
        (27, "42.3%   1.6 GiB of 3.8 GiB"),
        (26, "42.3%"),
        (6, "42.3%"),
        (5, "42.3"),
        (1, ""),
        (0, ""),
        (-1, ""),
    ])
    func line(columns: Int, text: String) {
        let report = Self.report(1_726_000_000, of: 4_080_218_931, rate: 812 << 20)
        #expect(ProgressLine(report).text(columns: columns) == text)
    }

    @Test func aCompleteLineHasAFullBar() {
        let report = ProgressReport.complete(BackupProgress(offset: 65536, length: 65536), bytesPerSecond: 1024)
        #expect(
            ProgressLine(report).text(columns: 65)
                == "100.0% [============]    64 KiB of 64 KiB     1 KiB/s  0:00 left")
    }

    /// Whatever the numbers, a line leaves the last column free.
    @Test func everyLineFits() {
        var random = SeededRandom(seed: 11)
        for _ in 0..<(isHeavyRun ? 5_000 : 300) {
            func number() -> UInt64 {
                UInt64.random(in: 0 ... .max, using: &random) >> UInt64.random(in: 0..<64, using: &random)
            }
            let report = Self.report(number(), of: number(), rate: number())
            let columns = Int.random(in: -5...300, using: &random)
            let text = ProgressLine(report).text(columns: columns)
            #expect(text.count <= max(0, columns - 1))
            #expect(columns < 7 || text.hasPrefix(report.percent))
        }
    }

    @Test func aLogLineHasNoBar() {
        #expect(ProgressLine(Self.report(1, of: 1000)).text == "0.1%  1 B of 1000 B  0 B/s")
        #expect(ProgressLine(Self.report(500, of: 1000, rate: 1)).text == "50.0%  500 B of 1000 B  1 B/s  8:20 left")
    }

    @Test(
        arguments: [
            (0, "0:00"), (7, "0:07"), (59, "0:59"), (60, "1:00"), (750, "12:30"), (3599, "59:59"), (3600, "1:00:00"),
            (11_105, "3:05:05"), (86_399, "23:59:59"), (86_400, "1d 0h"), (187_200, "2d 4h"), (.max, "over 999d"),
        ] as [(UInt64, String)])
    func clockTime(seconds: UInt64, text: String) {
        #expect(ClockTime(seconds: seconds).description == text)
    }

    /// However long the end takes: the last line has the rate of the whole run.
    @Test(arguments: [(ProgressDisplay.Mode.bar, " 1 KiB/s"), (.json, #""rate":1024"#)])
    func lastRate(mode: ProgressDisplay.Mode, text: String) throws {
        let errors = try Pipe()
        var display = ProgressDisplay(mode: mode, console: Console(output: errors.writer, errors: errors.writer))
        let progress = BackupProgress(offset: 10240, length: 10240)
        display.update(progress, at: .seconds(1))
        display.finish(progress, at: .seconds(10))
        let last = errors.closeAndRead().split { $0 == "\r" || $0 == "\n" }.last
        #expect(try #require(last).contains(text))
    }
}
