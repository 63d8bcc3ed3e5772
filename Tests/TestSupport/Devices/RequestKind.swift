// SPDX-License-Identifier: GPL-2.0-or-later

/// The calls of a device that tests count and let fail.
package enum RequestKind: String, Sendable, Hashable, CaseIterable {
    case read, blockStatus, write, writeCompressed, writeZeroes, copyRange, discard, flush, resize

    /// Whether the call changes what the disk holds.
    package var isMutation: Bool {
        switch self {
        case .write, .writeCompressed, .writeZeroes, .copyRange, .discard, .resize: true
        case .read, .blockStatus, .flush: false
        }
    }
}
