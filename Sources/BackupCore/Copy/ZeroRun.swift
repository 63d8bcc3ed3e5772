// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// A run of units in a buffer that are all zero, or all not.
struct ZeroRun {
    /// Length in bytes: whole units, or up to the end of the buffer.
    let count: Int
    let isZero: Bool

    /// The longest run that starts at `offset`, which lies inside `bytes`.
    init(in bytes: RawSpan, from offset: Int, unit: Int) {
        var end = min(offset + unit, bytes.byteCount)
        let isZero = bytes.extracting(offset..<end).isZero
        while end < bytes.byteCount {
            let next = min(end + unit, bytes.byteCount)
            if bytes.extracting(end..<next).isZero != isZero { break }
            end = next
        }
        count = end - offset
        self.isZero = isZero
    }
}
