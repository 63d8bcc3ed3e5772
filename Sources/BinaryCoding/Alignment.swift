// SPDX-License-Identifier: GPL-2.0-or-later

extension FixedWidthInteger where Self: UnsignedInteger {
    /// Whether the number is a multiple of `alignment`, a power of two.
    @inlinable
    public func isAligned(to alignment: Self) -> Bool {
        self & (alignment - 1) == 0
    }

    /// The largest multiple of `alignment`, a power of two, that is not above the number.
    @inlinable
    public func alignedDown(to alignment: Self) -> Self {
        self & ~(alignment - 1)
    }

    /// The smallest multiple of `alignment`, a power of two, that is not below the number; `nil` where it does not fit.
    @inlinable
    public func alignedUp(to alignment: Self) -> Self? {
        adding(alignment - 1)?.alignedDown(to: alignment)
    }

    /// Quotient rounded up; never overflows.
    @inlinable
    public func dividedRoundingUp(by divisor: Self) -> Self {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder == 0 ? quotient : quotient + 1
    }
}
