// SPDX-License-Identifier: GPL-2.0-or-later

/// What a device can do beyond reading.
package struct DeviceCapabilities: Sendable, Equatable {
    package var isReadOnly: Bool
    /// Whether the content stays as it is while the device is open: nobody else may write to it either.
    package var isSteady: Bool
    /// Whether unallocated ranges show another device's content.
    package var hasBackingFile: Bool
    package var canWriteCompressed: Bool
    /// Whether `copyRange` is worth a try: it shares blocks, or a server does the copying.
    package var canCopyRange: Bool
    /// Longest single transfer in bytes; `nil` for no limit.
    package var maximumTransfer: UInt64?

    package init(
        isReadOnly: Bool = true, isSteady: Bool = false, hasBackingFile: Bool = false, canWriteCompressed: Bool = false,
        canCopyRange: Bool = false, maximumTransfer: UInt64? = nil
    ) {
        self.isReadOnly = isReadOnly
        self.isSteady = isSteady
        self.hasBackingFile = hasBackingFile
        self.canWriteCompressed = canWriteCompressed
        self.canCopyRange = canCopyRange
        self.maximumTransfer = maximumTransfer
    }
}
