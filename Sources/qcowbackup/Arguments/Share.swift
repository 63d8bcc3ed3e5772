// SPDX-License-Identifier: GPL-2.0-or-later

/// A part of a whole, given in per cent: `5%`, `0.5%`.
struct Share: Equatable {
    /// Above 0, below 1.
    let fraction: Double

    /// `nil` for anything else, also for none and for all.
    init?(parsing text: String) {
        let digits = text.hasSuffix("%") ? text.dropLast() : text[...]
        guard digits.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || $0 == UInt8(ascii: ".") }),
            let number = Double(digits), number > 0, number < 100
        else { return nil }
        fraction = number / 100
    }
}
