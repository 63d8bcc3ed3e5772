// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockIO

/// Two users of a file go together exactly where neither uses what the other does not share; a refused one leaves
/// nothing locked.
struct ImageLockTests {
    /// A file, and a descriptor of its own for each who wants to lock it.
    final class SharedFile {
        private let directory: TemporaryDirectory
        let path: FilePath
        private var descriptors: [FileDescriptor] = []

        init() throws {
            directory = try TemporaryDirectory()
            path = try directory.write([0], to: "disk.img")
        }

        func open(_ access: FileDescriptor.AccessMode = .readOnly) throws -> FileDescriptor {
            let descriptor = try FileDescriptor.open(path, access)
            descriptors.append(descriptor)
            return descriptor
        }

        func lock(_ mode: ImageLockMode) throws -> ImageLock {
            try ImageLock.acquire(descriptor: open().rawValue, path: path.string, mode: mode)
        }

        func close(_ descriptor: FileDescriptor) throws {
            descriptors.removeAll { $0 == descriptor }
            try descriptor.close()
        }

        deinit {
            for descriptor in descriptors { try? descriptor.close() }
        }
    }

    struct Pair: Sendable, CustomTestStringConvertible {
        let held: Mode
        let wanted: Mode
        /// What the second one is told; `nil` where both go together.
        let refusal: String?
        var testDescription: String { "\(held.name), then \(wanted.name)" }
    }

    struct Mode: Sendable {
        let name: String
        let mode: ImageLockMode
        static let reader = Mode(name: "reader", mode: .readOnlySource)
        static let writer = Mode(name: "writer", mode: .writable)
        static let creator = Mode(name: "creator", mode: .creation)
        static let forced = Mode(name: "forced reader", mode: .forcedShare)
    }

    static let getWrite = "Failed to get \"write\" lock"
    static let getSharedWrite = "Failed to get shared \"write\" lock"

    static let pairs = [
        Pair(held: .reader, wanted: .reader, refusal: nil),
        Pair(held: .reader, wanted: .writer, refusal: getWrite),
        Pair(held: .reader, wanted: .creator, refusal: getWrite),
        Pair(held: .reader, wanted: .forced, refusal: nil),
        Pair(held: .writer, wanted: .reader, refusal: getSharedWrite),
        Pair(held: .writer, wanted: .writer, refusal: getWrite),
        Pair(held: .writer, wanted: .creator, refusal: getWrite),
        Pair(held: .writer, wanted: .forced, refusal: nil),
        Pair(held: .creator, wanted: .reader, refusal: getSharedWrite),
        Pair(held: .creator, wanted: .writer, refusal: "Failed to get \"resize\" lock"),
        Pair(held: .creator, wanted: .creator, refusal: "Failed to get \"resize\" lock"),
        Pair(held: .creator, wanted: .forced, refusal: nil),
        Pair(held: .forced, wanted: .reader, refusal: nil),
        Pair(held: .forced, wanted: .writer, refusal: nil),
        Pair(held: .forced, wanted: .creator, refusal: nil),
        Pair(held: .forced, wanted: .forced, refusal: nil),
    ]

    @Test(arguments: pairs)
    func everyPairOfUsers(pair: Pair) throws {
        let file = try SharedFile()
        let held = try file.lock(pair.held.mode)
        #expect(held.unavailable == nil)
        if let refusal = pair.refusal {
            let error = #expect(throws: ImageLockError.self) { _ = try file.lock(pair.wanted.mode) }
            #expect(error?.description == "\(file.path): \(refusal): is another process using the image?")
            #expect(error?.isInUse == true)
            // The refused one has not left a lock, or the first mode could not be had once more.
            held.release()
            _ = try file.lock(pair.wanted.mode)
        } else {
            _ = try file.lock(pair.wanted.mode)
            held.release()
        }
    }

    @Test func locksEndWithTheDescriptor() throws {
        let file = try SharedFile()
        let descriptor = try file.open()
        _ = try ImageLock.acquire(descriptor: descriptor.rawValue, path: file.path.string, mode: .writable)
        #expect(throws: ImageLockError.self) { _ = try file.lock(.readOnlySource) }
        try file.close(descriptor)
        _ = try file.lock(.readOnlySource)
    }

    struct Bytes: Sendable {
        let mode: ImageLockMode
        let bytes: [Int64]
    }

    @Test(arguments: [
        Bytes(mode: .readOnlySource, bytes: [100, 201, 203]),
        Bytes(mode: .writable, bytes: [100, 101, 103, 201, 203]),
        Bytes(mode: .creation, bytes: [101, 103, 203]),
        Bytes(mode: .forcedShare, bytes: [100]),
    ])
    func locksTheBytesOfTheScheme(expected: Bytes) throws {
        #expect(expected.mode.lockedBytes == expected.bytes)
        let file = try SharedFile()
        let lock = try file.lock(expected.mode)
        let other = try file.open(.readWrite)
        #expect(try lockedBytes(seenBy: other) == expected.bytes)
        lock.release()
        #expect(try lockedBytes(seenBy: other) == [])
    }

    @Test func changingKeepsWhatBothModesShare() throws {
        let file = try SharedFile()
        var lock = try file.lock(.readOnlySource)
        let other = try file.open(.readWrite)
        try lock.change(to: .writable)
        #expect(try lockedBytes(seenBy: other) == [100, 101, 103, 201, 203])
        try lock.change(to: .creation)
        #expect(try lockedBytes(seenBy: other) == [101, 103, 203])
        lock.release()
    }

    @Test func aRefusedChangeLeavesTheOldMode() throws {
        let file = try SharedFile()
        var lock = try file.lock(.readOnlySource)
        let reader = try file.lock(.readOnlySource)
        // Not a closure of #expect: the lock can't be captured there.
        do {
            try lock.change(to: .writable)
            Issue.record("two readers, and one became a writer")
        } catch {
            #expect(
                error
                    == .conflict(
                        path: file.path.string,
                        ImageLockConflict(permission: .write, reason: .notSharedByOther)))
        }
        #expect(lock.mode == .readOnlySource)
        reader.release()
        #expect(try lockedBytes(seenBy: file.open(.readWrite)) == [100, 201, 203])
        try lock.change(to: .writable)
        lock.release()
    }

    @Test func aWholeFileLockOfAnotherProgramIsNamed() throws {
        let file = try SharedFile()
        let other = try file.open(.readWrite)
        try #require(clinux_lock_byte(other.rawValue, 100, Int16(F_WRLCK)) == 0)
        let error = #expect(throws: ImageLockError.self) { _ = try file.lock(.readOnlySource) }
        #expect(error == .foreignLock(path: file.path.string, byte: 100))
        #expect(error?.isInUse == true)
    }

    @Test func aDescriptorThatCannotLockIsAnError() throws {
        let file = try SharedFile()
        let descriptor = try file.open(.writeOnly)
        let error = #expect(throws: ImageLockError.self) {
            _ = try ImageLock.acquire(descriptor: descriptor.rawValue, path: file.path.string, mode: .creation)
        }
        #expect(error?.isInUse == false)
        #expect(error?.description.contains(file.path.string) == true)
    }

    /// Bytes below 300 on which someone else holds a lock.
    private func lockedBytes(seenBy descriptor: FileDescriptor) throws -> [Int64] {
        try (Int64(0)..<300).filter { byte in
            var type = Int16(F_UNLCK)
            try #require(clinux_probe_byte(descriptor.rawValue, byte, &type) == 0)
            return type != Int16(F_UNLCK)
        }
    }
}
