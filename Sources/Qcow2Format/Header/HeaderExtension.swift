// SPDX-License-Identifier: GPL-2.0-or-later

/// A header extension, known or not.
///
/// Spec: “Header extensions”.
struct HeaderExtension: Sendable, Equatable {
    let type: UInt32
    /// Content without the padding.
    let data: [UInt8]

    static let backingFormat: UInt32 = 0xe279_2aca
    static let featureNameTable: UInt32 = 0x6803_f857
    static let bitmaps: UInt32 = 0x2385_2875
    static let fullDiskEncryption: UInt32 = 0x0537_be77
    static let externalDataFile: UInt32 = 0x4441_5441
    /// Our own: “qcid”.
    static let backupIdentity: UInt32 = 0x7163_6964
    /// Our own: “qcbo”.
    static let bitmapOrigins: UInt32 = 0x7163_626f

    static let known: Set<UInt32> = [
        backingFormat, featureNameTable, bitmaps, fullDiskEncryption, externalDataFile, backupIdentity,
        bitmapOrigins,
    ]
}
