// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// What is wrong with an image, and where.
package struct Qcow2Error: LayerError {
    /// The file that holds the broken or unsupported structure.
    package let image: String
    package let problem: Problem

    package init(image: String, _ problem: Problem) {
        self.image = image
        self.problem = problem
    }

    /// A table or another structure that lies somewhere in the file.
    package enum Structure: String, Sendable {
        case header
        case l1Table = "L1 table"
        case l2Table = "L2 table"
        case refcountTable = "refcount table"
        case refcountBlock = "refcount block"
        case snapshotTable = "snapshot table"
        case snapshotL1Table = "snapshot's L1 table"
        case dataCluster = "data cluster"
        case compressedCluster = "compressed cluster"
        case bitmapDirectory = "bitmap directory"
        case bitmapTable = "bitmap table"
        case bitmapCluster = "bitmap cluster"
    }

    /// One case for each check that can fail. Offsets and lengths are in bytes.
    package enum Problem: Error {
        case notQcow2
        case version(UInt32)
        case truncatedHeader(length: UInt64)
        case headerField(name: String, value: UInt64, rule: String)
        case encrypted(method: String)
        case incompatibleFeatures([String])
        case headerExtension(type: UInt32, rule: String)
        case notAligned(Structure, offset: UInt64)
        case pastEnd(Structure, offset: UInt64, fileLength: UInt64)
        case overlaps(Structure, offset: UInt64)
        case l1ReservedBits(index: Int, entry: UInt64)
        case l2ReservedBits(guest: GuestOffset, entry: UInt64)
        case subclusters(guest: GuestOffset, bitmap: UInt64)
        case cluster(Structure, guest: GuestOffset, offset: UInt64, rule: String)
        case compressedCluster(guest: GuestOffset, CompressionError)
        case refcount(cluster: UInt64, rule: String)
        case snapshotNotFound(String, available: [String])
        case snapshotTable(rule: String)
        /// The directory of persistent bitmaps breaks a rule.
        case bitmapDirectory(rule: String)
        /// A persistent bitmap breaks a rule.
        case bitmap(name: String, rule: String)
        /// A persistent bitmap that must not be relied on.
        case bitmapUnusable(name: String, BitmapDefect)
        case bitmapNotFound(String, available: [String])
        case bitmapExists(String)
        case tooLarge(what: String, limit: String)
        /// It was not given with an image that has one, or was with one that has none.
        case externalDataFile(isMissing: Bool)
        case notWritable(reason: String)
        case option(name: String, rule: String)
    }

    package var errno: Errno {
        switch problem {
        case .encrypted, .incompatibleFeatures, .version: .notSupported
        case .tooLarge: .fileTooLarge
        case .notWritable: .readOnlyFileSystem
        case .notQcow2, .option, .snapshotNotFound: .invalidArgument
        case .bitmapNotFound: .noSuchFileOrDirectory
        case .bitmapExists: .fileExists
        case .bitmapUnusable: .invalidArgument
        default: .ioError
        }
    }

    package var description: String {
        "\(image): \(problem)"
    }
}

extension Qcow2Error.Problem: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notQcow2:
            "not a qcow2 image: the magic number is missing"
        case .version(let version):
            "qcow2 version \(version) is not supported; versions 2 and 3 are"
        case .truncatedHeader(let length):
            "truncated: the file of \(length) bytes ends inside the header"
        case .headerField(let name, let value, let rule):
            "header: \(name) is \(value); \(rule)"
        case .encrypted(let method):
            "the image is encrypted with \(method), which is not supported"
        case .incompatibleFeatures(let names):
            "the image uses features that are not supported: \(names.joined(separator: ", "))"
        case .headerExtension(let type, let rule):
            "header extension \(hex(type)): \(rule)"
        case .notAligned(let structure, let offset):
            "the \(structure.rawValue) at offset \(offset) is not aligned to a cluster"
        case .pastEnd(let structure, let offset, let fileLength):
            "the \(structure.rawValue) at offset \(offset) reaches past the end of the file (\(fileLength) bytes)"
        case .overlaps(let structure, let offset):
            "the \(structure.rawValue) at offset \(offset) overlaps other metadata"
        case .l1ReservedBits(let index, let entry):
            "L1 table: entry \(index) (\(hex(entry))) has reserved bits set"
        case .l2ReservedBits(let guest, let entry):
            "L2 table: the entry of guest offset \(guest.bytes) (\(hex(entry))) has reserved bits set"
        case .subclusters(let guest, let bitmap):
            "L2 table: the subcluster bitmap of guest offset \(guest.bytes) (\(hex(bitmap))) is invalid"
        case .cluster(let structure, let guest, let offset, let rule):
            "the \(structure.rawValue) of guest offset \(guest.bytes) at offset \(offset) \(rule)"
        case .compressedCluster(let guest, let error):
            "the compressed cluster of guest offset \(guest.bytes) can't be read: \(error)"
        case .refcount(let cluster, let rule):
            "the refcount of cluster \(cluster) \(rule)"
        case .snapshotNotFound(let name, let available):
            available.isEmpty
                ? "there is no snapshot '\(name)': the image has none"
                : "there is no snapshot '\(name)'; there are: \(available.joined(separator: ", "))"
        case .snapshotTable(let rule):
            "snapshot table: \(rule)"
        case .bitmapDirectory(let rule):
            "bitmap directory: \(rule)"
        case .bitmap(let name, let rule):
            "bitmap '\(name)': \(rule)"
        case .bitmapUnusable(let name, let defect):
            "bitmap '\(name)' \(defect)"
        case .bitmapNotFound(let name, let available):
            available.isEmpty
                ? "there is no bitmap '\(name)': the image has none"
                : "there is no bitmap '\(name)'; there are: \(available.joined(separator: ", "))"
        case .bitmapExists(let name):
            "bitmap '\(name)' exists already"
        case .tooLarge(let what, let limit):
            "\(what) is too large: \(limit)"
        case .externalDataFile(let isMissing):
            isMissing ? "the image's data is in an external data file" : "the image has no external data file"
        case .notWritable(let reason):
            "the image can't be written: \(reason)"
        case .option(let name, let rule):
            "option \(name): \(rule)"
        }
    }
}

/// A number as it is written where its bits matter.
func hex(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16) }
