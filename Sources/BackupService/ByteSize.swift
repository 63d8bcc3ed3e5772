// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// A number of bytes as people write it: binary units, `64K`, `1.5G`, `2T` in, `3.8 GiB` out.
package struct ByteSize: Equatable, Sendable {
    package let bytes: UInt64

    package init(_ bytes: UInt64) {
        self.bytes = bytes
    }

    private static let units = ["K", "M", "G", "T", "P", "E"]

    /// More digits than this say nothing: 2^60 parts of the largest unit are 18 digits.
    private static let maximumFractionDigits = 18

    /// Reads digits, optionally a point and more digits, optionally a unit: one of `KMGTPE` in either case,
    /// alone or with `iB`; `B` for bytes. Part of a byte is dropped.
    ///
    /// `nil` for anything else: signs, spaces, exponents, `kB` (which may mean 1000), a fraction of a byte, more than
    /// 64 bits.
    package init?(parsing text: some StringProtocol) {
        var rest = Substring(text)
        let whole = rest.prefix(while: Self.isDigit)
        guard let wholeNumber = UInt64(whole) else { return nil }
        rest = rest.dropFirst(whole.count)

        var fraction: Substring?
        if rest.first == "." {
            let digits = rest.dropFirst().prefix(while: Self.isDigit)
            guard !digits.isEmpty, digits.count <= Self.maximumFractionDigits else { return nil }
            rest = rest.dropFirst(1 + digits.count)
            fraction = digits
        }

        guard let shift = Self.shift(ofUnit: rest) else { return nil }
        let unit: UInt64 = 1 << shift
        guard let whole = wholeNumber.multiplied(by: unit) else { return nil }
        guard let fraction else {
            bytes = whole
            return
        }
        guard shift > 0, let numerator = UInt64(fraction) else { return nil }
        var denominator: UInt64 = 1
        for _ in fraction {
            denominator *= 10  // at most 10^18
        }
        // The numerator is below the denominator, so the quotient is below the unit and can't overflow.
        let part = denominator.dividingFullWidth(numerator.multipliedFullWidth(by: unit)).quotient
        guard let sum = whole.adding(part) else { return nil }
        bytes = sum
    }

    private static func isDigit(_ character: Character) -> Bool {
        ("0"..."9").contains(character) && character.utf8.count == 1
    }

    /// Log2 of the unit named by `suffix`; empty means bytes.
    private static func shift(ofUnit suffix: Substring) -> Int? {
        let name = suffix.uppercased()
        if name.isEmpty || name == "B" { return 0 }
        guard let index = units.firstIndex(where: { name == $0 || name == $0 + "IB" }) else { return nil }
        return 10 * (index + 1)
    }
}

extension ByteSize: CustomStringConvertible {
    /// The size in the largest unit that it fills, with one decimal below 100 unless that is zero: `512 B`, `64 KiB`,
    /// `3.8 GiB`.
    package var description: String {
        guard bytes >= 1024 else { return "\(bytes) B" }
        var index = (63 - bytes.leadingZeroBitCount) / 10
        if index < Self.units.count, Self.wholes(of: bytes, shift: index * 10) == 1024 {
            index += 1
        }
        let tenths = Self.tenths(of: bytes, shift: index * 10)
        let unit = Self.units[index - 1] + "iB"
        if tenths >= 1000 { return "\(Self.wholes(of: bytes, shift: index * 10)) \(unit)" }
        return tenths % 10 == 0 ? "\(tenths / 10) \(unit)" : "\(tenths / 10).\(tenths % 10) \(unit)"
    }

    /// `bytes` in units of 2^shift, rounded; shift is 10 to 60.
    private static func wholes(of bytes: UInt64, shift: Int) -> UInt64 {
        (bytes >> UInt64(shift - 1) + 1) / 2
    }

    /// `bytes` in tenths of 2^shift, rounded; shift is 10 to 60.
    private static func tenths(of bytes: UInt64, shift: Int) -> UInt64 {
        let unit: UInt64 = 1 << UInt64(shift)
        // The remainder is below 2^60: ten times that, and a half, fits.
        return (bytes >> UInt64(shift)) * 10 + ((bytes & (unit - 1)) * 10 + unit / 2) >> UInt64(shift)
    }
}
