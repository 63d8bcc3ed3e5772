// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2File {
    /// What the header says of the image itself.
    package var facts: Qcow2Facts {
        let fields = header.header
        let names = FeatureNameTable(data: header.data(of: HeaderExtension.featureNameTable) ?? [])
        return Qcow2Facts(
            version: layout.version, clusterLength: layout.geometry.clusterLength, refcountBits: layout.refcounts.bits,
            compressionType: layout.compressionType, hasSubclusters: layout.geometry.hasSubclusters,
            hasLazyRefcounts: fields.compatibleFeatures.contains(.lazyRefcounts),
            isDirty: fields.incompatibleFeatures.contains(.dirty),
            isMarkedCorrupt: fields.incompatibleFeatures.contains(.corrupt),
            isDataFileRaw: layout.hasExternalDataFile && fields.autoclearFeatures.contains(.rawExternalData),
            encryption: EncryptionMethod(rawValue: fields.encryptionMethod),
            unknownFeatures: names.names(of: fields.compatibleFeatures.subtracting(.known))
                + names.names(of: fields.autoclearFeatures.subtracting(.known)),
            unknownExtensions: header.extensions.map(\.type).filter { !HeaderExtension.known.contains($0) },
            hasStaleBitmaps: Self.warning(ofStaleBitmapsIn: header, path: path) != nil)
    }

    /// The internal snapshots.
    ///
    /// - Throws: `BlockError.layer` with a `Qcow2Error` where their table breaks the format.
    package func snapshots() async throws(BlockError) -> [Snapshot] {
        try await SnapshotTable.read(header.header, from: file, currentSize: layout.size, withNames: true).snapshots
    }

    /// What the encryption header says; `nil` for an image that has none, which are those that LUKS doesn't encrypt.
    ///
    /// - Throws: `BlockError.layer` with a `Qcow2Error` where it is missing or no such header.
    package func encryptionHeader() async throws(BlockError) -> LUKSHeader? {
        guard facts.encryption == .luks else { return nil }
        do throws(Qcow2Error.Problem) {
            guard let data = header.data(of: HeaderExtension.fullDiskEncryption), data.count == 16,
                let offset: UInt64 = try? data.span.bytes.bigEndian(at: 0),
                let length: UInt64 = try? data.span.bytes.bigEndian(at: 8), length >= UInt64(LUKSHeader.encodedLength)
            else {
                throw .headerExtension(
                    type: HeaderExtension.fullDiskEncryption, rule: "an encrypted image needs one, and it is missing")
            }
            try ImageLayout.checkTable(
                .header, offset: offset, length: length, clusterLength: layout.geometry.clusterLength,
                fileLength: file.length)
            let bytes: [UInt8]
            do {
                bytes = try await file.contents(at: offset, count: LUKSHeader.encodedLength)
            } catch {
                throw .headerExtension(type: HeaderExtension.fullDiskEncryption, rule: "what it leads to can't be read")
            }
            return try LUKSHeader(decoding: bytes.span.bytes)
        } catch {
            throw failure(error)
        }
    }
}

/// What an image's header says of the image itself.
package struct Qcow2Facts: Sendable, Equatable {
    /// 2 or 3.
    package let version: UInt32
    /// In bytes.
    package let clusterLength: UInt64
    package let refcountBits: Int
    package let compressionType: CompressionType
    package let hasSubclusters: Bool
    package let hasLazyRefcounts: Bool
    /// Whether the image was not closed, so that its refcounts may be out of date.
    package let isDirty: Bool
    package let isMarkedCorrupt: Bool
    /// Whether the external data file holds the guest's bytes at the guest's offsets.
    package let isDataFileRaw: Bool
    /// `nil` for an image that is not encrypted.
    package let encryption: EncryptionMethod?
    /// Features that don't matter for reading and that this program doesn't know, by name where the image gives one.
    package let unknownFeatures: [String]
    /// Types of the header extensions that this program doesn't know.
    package let unknownExtensions: [UInt32]
    /// Whether there are bitmaps that a program which doesn't know them has left behind.
    package let hasStaleBitmaps: Bool
}

extension Qcow2File {
    /// How the image is laid out, as options for another one like it. What it says of other files is left out.
    package var layoutOptions: Qcow2Options {
        var options = Qcow2Options(size: layout.size)
        options.version = layout.version
        options.clusterBits = Int(header.header.clusterBits)
        options.refcountOrder = Int(header.header.refcountOrder)
        options.compressionType = layout.compressionType
        options.hasExtendedL2 = header.header.incompatibleFeatures.contains(.extendedL2)
        options.hasLazyRefcounts = header.header.compatibleFeatures.contains(.lazyRefcounts)
        return options
    }

    /// Number of internal snapshots, as the header says.
    package var snapshotCount: UInt32 { header.header.snapshotCount }
}
