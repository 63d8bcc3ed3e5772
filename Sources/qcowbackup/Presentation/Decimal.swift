// SPDX-License-Identifier: GPL-2.0-or-later

/// A number with a fixed count of decimals.
struct Decimal: CustomStringConvertible {
    let description: String

    /// - Parameter digits: decimals, 1 to 6. Anything that is no number from 0 to 10^9 becomes a dash.
    init(_ value: Double, digits: Int) {
        var scale: UInt64 = 1
        for _ in 0..<digits {
            scale *= 10
        }
        guard value >= 0, value <= 1e9 else {
            description = "-"
            return
        }
        let scaled = UInt64((value * Double(scale)).rounded())
        let fraction = String(scaled % scale)
        description = "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
    }
}

/// A length of time as a clock shows it: `0:07`, `12:30`, `3:05:00`, `2d 4h`.
struct ClockTime: CustomStringConvertible {
    let seconds: UInt64

    var description: String {
        let (minutes, second) = seconds.quotientAndRemainder(dividingBy: 60)
        let (hours, minute) = minutes.quotientAndRemainder(dividingBy: 60)
        if hours == 0 { return "\(minute):\(Self.twoDigits(second))" }
        let (days, hour) = hours.quotientAndRemainder(dividingBy: 24)
        if days == 0 { return "\(hour):\(Self.twoDigits(minute)):\(Self.twoDigits(second))" }
        return days < 1000 ? "\(days)d \(hour)h" : "over 999d"
    }

    private static func twoDigits(_ number: UInt64) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}
