// SPDX-License-Identifier: GPL-2.0-or-later

/// Feature bits that a reader must understand to open the image.
///
/// Spec: “Header”, bytes 72 to 79, incompatible_features.
struct IncompatibleFeatures: OptionSet, Sendable {
    let rawValue: UInt64

    /// Refcounts may be stale: the image was not closed.
    static let dirty = IncompatibleFeatures(rawValue: 1 << 0)
    static let corrupt = IncompatibleFeatures(rawValue: 1 << 1)
    static let externalDataFile = IncompatibleFeatures(rawValue: 1 << 2)
    /// The compression type is not zlib.
    static let compressionType = IncompatibleFeatures(rawValue: 1 << 3)
    static let extendedL2 = IncompatibleFeatures(rawValue: 1 << 4)

    static let supported: IncompatibleFeatures = [.dirty, .corrupt, .externalDataFile, .compressionType, .extendedL2]
}

/// Feature bits that a reader may ignore. Spec: “Header”, bytes 80 to 87.
struct CompatibleFeatures: OptionSet, Sendable {
    let rawValue: UInt64

    static let lazyRefcounts = CompatibleFeatures(rawValue: 1 << 0)

    static let known: CompatibleFeatures = [.lazyRefcounts]
}

/// Feature bits that a writer clears unless it keeps what they promise. Spec: “Header”, bytes 88 to 95.
struct AutoclearFeatures: OptionSet, Sendable {
    let rawValue: UInt64

    /// The bitmaps extension is consistent with the data.
    static let bitmaps = AutoclearFeatures(rawValue: 1 << 0)
    /// The external data file holds the guest's bytes at the guest's offsets.
    static let rawExternalData = AutoclearFeatures(rawValue: 1 << 1)

    static let known: AutoclearFeatures = [.bitmaps, .rawExternalData]
}
