// SPDX-License-Identifier: GPL-2.0-or-later

/// A length of time as people write it: `90s`, `10m`, `2h`; a bare number is seconds.
struct TimeSpan: Equatable {
    let duration: Duration

    /// `nil` for anything else, for no time at all and for more than a year.
    init?(parsing text: String) {
        let factors: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
        let factor = text.last.flatMap { factors[$0] }
        let digits = factor == nil ? text[...] : text.dropLast()
        guard !digits.isEmpty, digits.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
            let number = Int(digits), number > 0, number <= 366 * 86400 / (factor ?? 1)
        else { return nil }
        duration = .seconds(number * (factor ?? 1))
    }
}
