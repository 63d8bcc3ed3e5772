// SPDX-License-Identifier: GPL-2.0-or-later

/// What users are told about a bitmap.
package struct BitmapInfo: Sendable, Equatable {
    package var name: String
    /// Dirty bytes, in whole granules.
    package var count: UInt64
    /// In bytes.
    package var granularity: UInt64
    package var isRecording: Bool
    package var isBusy: Bool
    package var isPersistent: Bool
    package var isReadOnly: Bool
    package var isInconsistent: Bool

    package init(_ bitmap: NamedBitmap) {
        name = bitmap.name
        count = bitmap.bits.dirtyLength
        granularity = bitmap.bits.granularity
        isRecording = bitmap.isRecording
        isBusy = bitmap.isBusy
        isPersistent = bitmap.isPersistent
        isReadOnly = bitmap.isReadOnly
        isInconsistent = bitmap.isInconsistent
    }
}
