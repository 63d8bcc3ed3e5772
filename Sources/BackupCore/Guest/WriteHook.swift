// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Someone who must act before a disk changes.
protocol WriteHook: AnyObject, Sendable {
    /// Saves what `range`, in bytes of the disk and not empty, holds now. The disk changes once this returns.
    ///
    /// - Throws: what the guest's request is then to fail with.
    func beforeChange(of range: Range<UInt64>) async throws(BlockError)
}
