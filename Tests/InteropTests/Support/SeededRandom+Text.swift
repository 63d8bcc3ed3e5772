// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport

extension SeededRandom {
    /// Numbers of a case's own, the same in each run.
    init(text: String) {
        self.init(seed: text.utf8.reduce(0) { $0 &* 31 &+ UInt64($1) })
    }
}
