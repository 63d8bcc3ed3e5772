// SPDX-License-Identifier: GPL-2.0-or-later

/// Arithmetic for numbers that come from a file, a peer or a user: `nil` where the result does not fit.
extension FixedWidthInteger {
    @inlinable
    public func adding(_ other: Self) -> Self? {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? nil : sum
    }

    @inlinable
    public func subtracting(_ other: Self) -> Self? {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? nil : difference
    }

    @inlinable
    public func multiplied(by other: Self) -> Self? {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? nil : product
    }
}
