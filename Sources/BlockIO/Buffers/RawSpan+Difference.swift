// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

extension RawSpan {
    /// Bytes that are compared at once.
    private static let differenceStep = 4096

    /// Index of the first byte that differs from `other`, which is as long; `nil` where none does.
    package func firstDifference(from other: RawSpan) -> Int? {
        precondition(byteCount == other.byteCount)
        // Unsafe for speed: memcmp looks at everything that two disks hold.
        return withUnsafeBytes { mine in
            other.withUnsafeBytes { theirs in
                guard let one = mine.baseAddress, let two = theirs.baseAddress, memcmp(one, two, mine.count) != 0
                else { return nil }
                var start = 0
                while start < mine.count {
                    let count = min(Self.differenceStep, mine.count - start)
                    if memcmp(one + start, two + start, count) != 0 { break }
                    start += count
                }
                return (start..<mine.count).first { mine[$0] != theirs[$0] }
            }
        }
    }

    /// Index of the first byte that is not zero; `nil` where there is none.
    package var firstNonzero: Int? {
        isZero ? nil : withUnsafeBytes { bytes in bytes.firstIndex { $0 != 0 } }
    }
}
