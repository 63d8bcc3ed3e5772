// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import SystemPackage

/// A format of disks, of parts of disks or of compressed files that this program doesn't read.
///
/// Without this, a file of such a format would be taken for a raw disk: its backup would hold what no guest ever saw.
package struct ForeignFormat: Sendable, Equatable {
    /// What to do about a file of the format.
    package enum Remedy: Sendable, Equatable {
        /// `qemu-img convert`, which calls the format so.
        case convert(String)
        /// To uncompress or unpack it first, for example with this program.
        case unpack(String)
        /// Only its own password opens it.
        case decrypt
    }

    /// As people call it.
    package let name: String
    package let remedy: Remedy

    /// Bytes at a certain place by which a format is known.
    private struct Mark {
        var offset = 0
        let bytes: [UInt8]
        let format: ForeignFormat

        init(_ text: String, at offset: Int = 0, _ name: String, _ remedy: Remedy) {
            self.init(Array(text.utf8), at: offset, name, remedy)
        }

        init(_ bytes: [UInt8], at offset: Int = 0, _ name: String, _ remedy: Remedy) {
            self.offset = offset
            self.bytes = bytes
            format = ForeignFormat(name: name, remedy: remedy)
        }
    }

    /// At the start of a file.
    private static let marks = [
        Mark("KDMV", "VMDK", .convert("vmdk")), Mark("COWD", "VMDK", .convert("vmdk")),
        Mark("# Disk DescriptorFile", "VMDK", .convert("vmdk")),
        Mark([0x7f, 0x10, 0xda, 0xbe], at: 64, "VDI", .convert("vdi")),
        Mark("vhdxfile", "VHDX", .convert("vhdx")), Mark("conectix", "VHD", .convert("vpc")),
        Mark("#V2.0 Format", "cloop", .convert("cloop")), Mark("VMA\0", "Proxmox VMA", .unpack("vma extract")),
        Mark([0x51, 0x45, 0x44, 0x00], "QED", .convert("qed")),
        Mark("WithoutFreeSpace", "Parallels", .convert("parallels")),
        Mark("WithouFreSpacExt", "Parallels", .convert("parallels")),
        Mark([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 1], "qcow version 1", .convert("qcow")),
        Mark("Bochs Virtual HD Image", "Bochs", .convert("bochs")),
        Mark([0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe], "LUKS", .decrypt),
        Mark([0x1f, 0x8b, 0x08], "gzip", .unpack("gzip -d")),
        Mark([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], "xz", .unpack("xz -d")),
        Mark([0x28, 0xb5, 0x2f, 0xfd], "zstd", .unpack("zstd -d")),
        Mark([0x04, 0x22, 0x4d, 0x18], "lz4", .unpack("lz4 -d")),
        // "BZh", the level, and the first block's number.
        Mark([0x31, 0x41, 0x59, 0x26, 0x53, 0x59], at: 4, "bzip2", .unpack("bzip2 -d")),
        Mark([0x50, 0x4b, 0x03, 0x04], "zip", .unpack("unzip")),
        Mark([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], "7z", .unpack("7z x")),
        Mark("ustar", at: 257, "tar", .unpack("tar -x")),
    ]

    /// Bytes that the marks lie in.
    private static let headLength: UInt64 = 512
    /// Where a disk in a VHD of fixed size ends, or the parts of a DMG, something follows that says so.
    private static let footerLength: UInt64 = 512

    /// The format of a file that is no qcow2 image; `nil` where nothing speaks against a raw disk.
    static func recognised(in file: any Storage) async throws(BlockError) -> ForeignFormat? {
        let head = try await file.contents(at: 0, count: Int(min(file.length, headLength)))
        if let mark = marks.first(where: { head.dropFirst($0.offset).starts(with: $0.bytes) }) { return mark.format }
        guard file.length >= 2 * footerLength else { return nil }
        let end = file.length - footerLength
        let footer = try await file.contents(at: end, count: Int(footerLength))
        // With the version and the length of the footer, so that no content of a disk is taken for it by chance.
        if footer.starts(with: Array("koly".utf8) + [0, 0, 0, 4, 0, 0, 2, 0]) {
            return ForeignFormat(name: "DMG", remedy: .convert("dmg"))
        }
        // The size of the disk that the footer tells of is what lies before it.
        let size: UInt64? = try? footer.span.bytes.bigEndian(at: 48)
        return footer.starts(with: Array("conectix".utf8)) && size == end
            ? ForeignFormat(name: "VHD", remedy: .convert("vpc")) : nil
    }
}

/// A file is none that this program reads.
package struct ForeignFormatError: LayerError {
    package let path: String
    package let format: ForeignFormat

    package var errno: Errno { .notSupported }

    package var description: String { "\(path): the format of this file, \(format.name), is not supported" }
}
