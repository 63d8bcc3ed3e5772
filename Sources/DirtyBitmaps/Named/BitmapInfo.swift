// SPDX-License-Identifier: GPL-2.0-or-later

/// What users are told about a bitmap.
public struct BitmapInfo: Sendable, Equatable {
    public var name: String
    /// Dirty bytes, in whole granules.
    public var count: UInt64
    /// In bytes.
    public var granularity: UInt64
    public var isRecording: Bool
    public var isBusy: Bool
    public var isPersistent: Bool
    public var isReadOnly: Bool
    public var isInconsistent: Bool

    public init(_ bitmap: NamedBitmap) {
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
