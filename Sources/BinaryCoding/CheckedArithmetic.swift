// SPDX-License-Identifier: GPL-2.0-or-later

/// Arithmetic for numbers that come from a file, a peer or a user: `nil` where the result does not fit.
extension FixedWidthInteger {
    @inlinable
    package func adding(_ other: Self) -> Self? {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? nil : sum
    }

    @inlinable
    package func subtracting(_ other: Self) -> Self? {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? nil : difference
    }

    @inlinable
    package func multiplied(by other: Self) -> Self? {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? nil : product
    }
}

extension FixedWidthInteger where Self: UnsignedInteger {
    /// Whether the number is a multiple of `alignment`, a power of two.
    @inlinable
    package func isAligned(to alignment: Self) -> Bool {
        self & (alignment - 1) == 0
    }

    /// The largest multiple of `alignment`, a power of two, that is not above the number.
    @inlinable
    package func alignedDown(to alignment: Self) -> Self {
        self & ~(alignment - 1)
    }

    /// The smallest multiple of `alignment`, a power of two, that is not below the number; `nil` where it does not fit.
    @inlinable
    package func alignedUp(to alignment: Self) -> Self? {
        adding(alignment - 1)?.alignedDown(to: alignment)
    }

    /// Quotient rounded up; never overflows.
    @inlinable
    package func dividedRoundingUp(by divisor: Self) -> Self {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder == 0 ? quotient : quotient + 1
    }
}
