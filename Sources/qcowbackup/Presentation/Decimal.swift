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
