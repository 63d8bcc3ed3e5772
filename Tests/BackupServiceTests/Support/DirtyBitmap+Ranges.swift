// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps

extension DirtyBitmap {
    /// A bitmap of some dirty ranges.
    init(length: UInt64, granularity: UInt64, _ ranges: [Range<UInt64>]) throws {
        try self.init(length: length, granularity: granularity)
        for range in ranges { set(range) }
    }
}
