// SPDX-License-Identifier: GPL-2.0-or-later

import FoundationEssentials
import Glibc

/// A point in time as text; a dash for one that no calendar has.
struct DateText {
    private let parts: tm?

    /// In the local time zone.
    init(_ date: Date) {
        self.init(Self.seconds(date)) { localtime_r(&$0, &$1) != nil }
    }

    /// In the local time zone.
    ///
    /// - Parameter seconds: since 1970.
    init(seconds: UInt32) {
        self.init(time_t(seconds)) { localtime_r(&$0, &$1) != nil }
    }

    private init(_ seconds: time_t?, _ convert: (inout time_t, inout tm) -> Bool) {
        var parts = tm()
        guard var seconds, convert(&seconds, &parts) else {
            self.parts = nil
            return
        }
        self.parts = parts
    }

    /// `nil` for what is further off than a calendar of four digits for the year.
    private static func seconds(_ date: Date) -> time_t? {
        let seconds = date.timeIntervalSince1970.rounded(.down)
        return (-62_135_596_800..<253_402_300_800).contains(seconds) ? time_t(seconds) : nil
    }

    /// `2026-11-20T02:00:00Z`; `nil` for what no calendar has.
    static func utc(_ date: Date) -> String? {
        let text = DateText(seconds(date)) { gmtime_r(&$0, &$1) != nil }
        return text.parts.map { "\(text.day)T\(text.clock):\(padded($0.tm_sec))Z" }
    }

    /// `2026-11-20`
    var day: String {
        guard let parts else { return "-" }
        let year = "\(1900 + Int(parts.tm_year))"
        return String(repeating: "0", count: max(0, 4 - year.count)) + year
            + "-\(Self.padded(parts.tm_mon + 1))-\(Self.padded(parts.tm_mday))"
    }

    /// `2026-11-20 02:00`
    var minute: String { parts == nil ? "-" : "\(day) \(clock)" }

    /// `2026-11-20 02:00:00`
    var second: String {
        guard let parts else { return "-" }
        return "\(day) \(clock):\(Self.padded(parts.tm_sec))"
    }

    private var clock: String {
        guard let parts else { return "-" }
        return "\(Self.padded(parts.tm_hour)):\(Self.padded(parts.tm_min))"
    }

    private static func padded(_ number: Int32) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}
