// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// A number of bytes as qemu-img writes it: three digits that count, in the unit that leaves less than 1000 of it.
struct QEMUSize: CustomStringConvertible {
    let bytes: UInt64

    init(_ bytes: UInt64) {
        self.bytes = bytes
    }

    private static let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]

    var description: String {
        var index = 0
        var unit = 1.0
        while index + 1 < Self.units.count, Double(bytes) / unit >= 1000 {
            index += 1
            unit *= 1024
        }
        let number = Self.threeDigits(Double(bytes) / unit)
        return "\(number) \(Self.units[index])B"
    }

    /// A number below 1000, rounded to three digits, without zeroes at its end.
    private static func threeDigits(_ value: Double) -> String {
        var buffer = [CChar](repeating: 0, count: 32)
        // The one way here to have C's rounding; the result has at most 9 characters.
        _ = withVaList([value]) { vsnprintf(&buffer, buffer.count, "%.3g", $0) }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
