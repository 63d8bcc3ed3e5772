// SPDX-License-Identifier: GPL-2.0-or-later

/// What `qemu-img info --output=json` says of an image.
struct ImageInfo: Decodable {
    struct Specific: Decodable {
        var data: Qcow2?
    }

    struct Qcow2: Decodable {
        var compat: String
        var compressionType: String
        var refcountBits: Int
        var extendedL2: Bool?
        var lazyRefcounts: Bool?
        var dataFile: String?
        var bitmaps: [Bitmap]?

        private enum CodingKeys: String, CodingKey {
            case compat
            case compressionType = "compression-type"
            case refcountBits = "refcount-bits"
            case extendedL2 = "extended-l2"
            case lazyRefcounts = "lazy-refcounts"
            case dataFile = "data-file"
            case bitmaps
        }
    }

    struct Bitmap: Decodable, Equatable {
        var name: String
        var granularity: UInt64
        var flags: [String]
    }

    /// In bytes.
    var virtualSize: UInt64
    /// Bytes on the disk.
    var actualSize: UInt64
    var clusterSize: UInt64?
    var backingFileName: String?
    var backingFormat: String?
    var specific: Specific?

    private enum CodingKeys: String, CodingKey {
        case virtualSize = "virtual-size"
        case actualSize = "actual-size"
        case clusterSize = "cluster-size"
        case backingFileName = "backing-filename"
        case backingFormat = "backing-filename-format"
        case specific = "format-specific"
    }
}
