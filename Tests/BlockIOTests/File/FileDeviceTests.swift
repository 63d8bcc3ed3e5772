// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Files hold what was written, wherever it went straight to the disk, and requests outside them are refused.
@Suite struct FileDeviceTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func device(
        _ name: String = "disk.raw", _ access: StorageAccess = .create
    ) throws(BlockError) -> any Storage {
        try LocalStorage.open(directory.file(name).string, access: access, lock: nil)
    }

    /// Requests of every alignment from memory of every alignment, against an array.
    @Test func againstAnArray() async throws {
        let length = 300_000
        let file = try device()
        try await file.resize(to: UInt64(length))
        var expected = [UInt8](repeating: 0, count: length)
        var random = SeededRandom(seed: 1)
        var buffer = AlignedBuffer(count: length + 8192)
        for step in 0..<400 {
            let alignment: UInt64 = [1, 512, 4096, 4096][step % 4]
            let range = random.range(below: UInt64(length), alignment: alignment)
            let place = Int(range.lowerBound)..<Int(range.upperBound)
            if step % 7 == 0 {
                try await file.writeZeroes(at: range.lowerBound, length: UInt64(range.count))
                expected.replaceSubrange(place, with: [UInt8](repeating: 0, count: range.count))
            } else {
                // Mostly as aligned as the place in the file, which is when the disk can take it directly.
                let start = step % 5 == 0 ? Int.random(in: 0..<4096, using: &random) : place.lowerBound % 4096
                let content = random.bytes(count: range.count)
                var bytes = buffer.mutableBytes
                bytes.copy(content.span.bytes, at: start)
                try await file.write(
                    at: range.lowerBound, from: buffer.bytes.extracting(start..<start + range.count))
                expected.replaceSubrange(place, with: content)
            }
            let around = max(place.lowerBound - 5000, 0)..<min(place.upperBound + 5000, length)
            #expect(
                try await file.bytes(at: UInt64(around.lowerBound), count: around.count) == Array(expected[around]))
        }
        try await file.flush()
        #expect(try directory.read("disk.raw") == expected)
    }

    /// What is said to be zero is zero, and what has been written is not said to be.
    @Test func status() async throws {
        let file = try device()
        try await file.resize(to: 4 << 20)
        var written = Set<Int>()
        for index in [0, 3, 4, 63] {
            try await file.write(at: UInt64(index) << 16, bytes: [UInt8](repeating: 5, count: 1 << 16))
            written.insert(index)
        }
        var position: UInt64 = 0
        for extent in try await file.extents() {
            #expect(extent.isAllocated)
            for index in Int(position >> 16)..<Int((position + extent.length - 1) >> 16 + 1) {
                if extent.readsAsZero { #expect(!written.contains(index)) }
            }
            position += extent.length
        }
        #expect(position == 4 << 20)
    }

    @Test func outOfRange() async throws {
        let file = try device()
        try await file.resize(to: 1000)
        for (offset, count) in [(1000, 1), (999, 2), (1001, 0), (UInt64.max, 1), (.max, 0)] as [(UInt64, Int)] {
            await #expect(throws: BlockError.self) { try await file.bytes(at: offset, count: count) }
            await #expect(throws: BlockError.self) {
                try await file.write(at: offset, bytes: [UInt8](repeating: 0, count: count))
            }
            await #expect(throws: BlockError.self) { try await file.writeZeroes(at: offset, length: UInt64(count)) }
            await #expect(throws: BlockError.self) {
                try await file.blockStatus(at: offset, length: UInt64(count), in: .chain)
            }
        }
        await #expect { try await file.resize(to: .max) } throws: { ($0 as? BlockError)?.errno == .fileTooLarge }
        #expect(file.length == 1000)
    }

    /// A file that someone else cuts off is no file of zeroes.
    @Test func cutOff() async throws {
        let file = try device()
        try await file.write(at: 0, bytes: [])
        try await file.resize(to: 10_000)
        #expect(truncate(directory.file("disk.raw").string, 5000) == 0)
        await #expect {
            try await file.bytes(at: 4000, count: 2000)
        } throws: { error in
            if case .truncated(_, offset: 5000)? = error as? BlockError { true } else { false }
        }
    }

    @Test func readOnly() async throws {
        try directory.write([1, 2, 3], to: "disk.raw")
        let file = try device("disk.raw", .readOnly)
        #expect(file.capabilities.isReadOnly)
        await #expect(throws: BlockError.self) { try await file.write(at: 0, bytes: [9]) }
        await #expect(throws: BlockError.self) { try await file.writeZeroes(at: 0, length: 1) }
        await #expect(throws: BlockError.self) { try await file.resize(to: 1) }
        try await file.flush()
        #expect(try directory.read("disk.raw") == [1, 2, 3])
    }

    enum Special: CaseIterable {
        case directory, fifo, characterDevice, socket
    }

    /// What holds no disk is named as what it is, at once.
    @Test(arguments: Special.allCases, [StorageAccess.readOnly, .readWrite])
    func special(_ special: Special, _ access: StorageAccess) throws {
        let path: String
        let kind: FileKind
        switch special {
        case .directory: (path, kind) = (directory.path.string, .directory)
        case .fifo:
            (path, kind) = (directory.file("fifo").string, .fifo)
            #expect(mkfifo(path, 0o600) == 0)
        case .characterDevice: (path, kind) = ("/dev/zero", .characterDevice)
        case .socket:
            (path, kind) = (directory.file("socket").string, .socket)
            #expect(mknod(path, S_IFSOCK | 0o600, 0) == 0)
        }
        #expect {
            try LocalStorage.open(path, access: access, lock: nil)
        } throws: { error in
            if case .notADisk(_, kind)? = error as? BlockError { true } else { false }
        }
    }

    /// What is made is made where its name is, and never behind a link.
    @Test func links() async throws {
        try directory.write([1], to: "file")
        let link = directory.file("link").string
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "file")
        #expect(throws: BlockError.self) { try device("link", .create) }
        #expect(try device("link", .readWrite).identity == device("file", .readOnly).identity)
        #expect(try FileStatus(path: link)?.kind == .regular)
        #expect(try FileStatus(path: link, followsLink: false)?.kind == .other)
        #expect(try FileStatus(path: directory.file("absent").string) == nil)
    }

    // MARK: Closing

    @Test func closed() async throws {
        let path = directory.file("closed").string
        let device = try LocalStorage.open(path, access: .createNew, lock: .writable)
        try await device.resize(to: 8192)
        try await device.write(at: 0, bytes: [UInt8](repeating: 1, count: 8192))
        try device.close()
        // Whatever comes too late reaches no other file.
        await #expect { try await device.flush() } throws: { ($0 as? BlockError)?.errno == .badFileDescriptor }
        await #expect { try await device.bytes(at: 0, count: 1) } throws: {
            ($0 as? BlockError)?.errno == .badFileDescriptor
        }
        try device.close()
        #expect(throws: BlockError.self) { _ = try LocalStorage.open(path, access: .createNew, lock: nil) }
        _ = try LocalStorage.open(path, access: .readWrite, lock: nil)
    }
}
