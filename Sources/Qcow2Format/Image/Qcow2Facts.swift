// SPDX-License-Identifier: GPL-2.0-or-later

/// What an image's header says of the image itself.
public struct Qcow2Facts: Sendable, Equatable {
    /// 2 or 3.
    public let version: UInt32
    /// In bytes.
    public let clusterLength: UInt64
    public let refcountBits: Int
    public let compressionType: CompressionType
    public let hasSubclusters: Bool
    public let hasLazyRefcounts: Bool
    /// Whether the image was not closed, so that its refcounts may be out of date.
    public let isDirty: Bool
    public let isMarkedCorrupt: Bool
    /// Whether the external data file holds the guest's bytes at the guest's offsets.
    public let isDataFileRaw: Bool
    /// `nil` for an image that is not encrypted.
    public let encryption: EncryptionMethod?
    /// Features that don't matter for reading and that this program doesn't know, by name where the image gives one.
    public let unknownFeatures: [String]
    /// Types of the header extensions that this program doesn't know.
    public let unknownExtensions: [UInt32]
    /// Whether there are bitmaps that a program which doesn't know them has left behind.
    public let hasStaleBitmaps: Bool
}
