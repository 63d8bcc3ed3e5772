// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import DiskChain
import Qcow2Format

/// What is neither raw nor qcow2 is refused by its name, also where it is to be a qcow2 image.
@Suite struct ForeignFormatTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        var offset = 0
        let mark: [UInt8]
        var testDescription: String { name }

        init(_ name: String, _ mark: [UInt8], at offset: Int = 0) {
            (self.name, self.mark, self.offset) = (name, mark, offset)
        }

        init(_ name: String, _ mark: String, at offset: Int = 0) {
            self.init(name, Array(mark.utf8), at: offset)
        }
    }

    static let cases = [
        Case("VMDK", "KDMV"), Case("VMDK", "COWD"), Case("VMDK", "# Disk DescriptorFile\nversion=1\n"),
        Case("VDI", [0x7F, 0x10, 0xDA, 0xBE], at: 64), Case("VHDX", "vhdxfile"), Case("VHD", "conectix"),
        Case("QED", "QED\0"), Case("Parallels", "WithoutFreeSpace"), Case("Parallels", "WithouFreSpacExt"),
        Case("qcow version 1", [0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 1]), Case("Bochs", "Bochs Virtual HD Image"),
        Case("LUKS", [0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE, 0, 2]), Case("gzip", [0x1F, 0x8B, 8, 0]),
        Case("xz", [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0]), Case("zstd", [0x28, 0xB5, 0x2F, 0xFD]),
        Case("lz4", [0x04, 0x22, 0x4D, 0x18]), Case("bzip2", "BZh9" + "1AY&SY"), Case("zip", "PK\u{3}\u{4}"),
        Case("7z", [0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C]), Case("tar", "ustar", at: 257),
        Case("cloop", "#V2.0 Format"), Case("Proxmox VMA", "VMA\0"),
        Case("DMG", Array("koly".utf8) + [0, 0, 0, 4, 0, 0, 2, 0], at: 4096 - 512),
    ]

    private static func bytes(_ test: Case, length: Int = 4096) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        bytes.replaceSubrange(test.offset..<test.offset + test.mark.count, with: test.mark)
        return bytes
    }

    private static func failure(_ body: () async throws(BlockError) -> Void) async -> ForeignFormatError? {
        do throws(BlockError) {
            try await body()
        } catch .layer(let error as ForeignFormatError) {
            return error
        } catch {
            Issue.record(error)
        }
        return nil
    }

    @Test(arguments: cases) func recognised(_ test: Case) async {
        let device = MemoryDevice(name: "disk", bytes: Self.bytes(test))
        let probed = await Self.failure { () async throws(BlockError) in
            _ = try await ImageFormat.recognised(in: device)
        }
        #expect(probed?.format.name == test.name)
        let opened = await Self.failure { () async throws(BlockError) in _ = try await Qcow2File.opened(device) }
        #expect(opened?.format.name == test.name)
        #expect(opened?.description == "disk: the format of this file, \(test.name), is not supported")
    }

    /// No byte of a mark may be another one, and none may be missing.
    @Test(arguments: cases) func otherBytesAreRaw(_ test: Case) async throws {
        var bytes = Self.bytes(test)
        let last = test.offset + (test.name == "LUKS" ? 5 : test.name == "gzip" ? 2 : min(test.mark.count, 21) - 1)
        bytes[last] ^= 0x10
        if test.name != "qcow version 1" {
            #expect(try await ImageFormat.recognised(in: MemoryDevice(bytes: bytes)) == .raw)
        }
        let short = Array(Self.bytes(test).prefix(last))
        #expect(try await ImageFormat.recognised(in: MemoryDevice(bytes: short)) == .raw)
    }

    @Test func diskOfFixedSizeInAVHD() async throws {
        var bytes = [UInt8](repeating: 7, count: 8192 + 512)
        bytes.replaceSubrange(8192..<8200, with: Array("conectix".utf8))
        bytes.replaceSubrange(8192 + 48..<8192 + 56, with: [0, 0, 0, 0, 0, 0, 0x20, 0])
        let device = MemoryDevice(bytes: bytes)
        let failure = await Self.failure { () async throws(BlockError) in
            _ = try await ImageFormat.recognised(in: device)
        }
        #expect(failure?.format.name == "VHD")
        // Of another length, it is something that a guest has written there.
        bytes[8192 + 54] = 0x21
        #expect(try await ImageFormat.recognised(in: MemoryDevice(bytes: bytes)) == .raw)
    }

    @Test(arguments: [0, 1, 4, 7, 8, 511, 512, 1024]) func shortFilesAreRaw(length: Int) async throws {
        let device = MemoryDevice(bytes: [UInt8](repeating: 0x51, count: length))
        #expect(try await ImageFormat.recognised(in: device) == .raw)
    }

    /// A CD is read as the raw disk that it is.
    @Test func isoImage() async throws {
        var bytes = [UInt8](repeating: 0, count: 40 << 10)
        bytes.replaceSubrange(32769..<32774, with: Array("CD001".utf8))
        #expect(try await ImageFormat.recognised(in: MemoryDevice(bytes: bytes)) == .raw)
    }
}
