// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import CLinux
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// What replaces a file gives nobody a right that the old one didn't give, and keeps what else is known of it.
@Suite struct InheritedAttributesTests {
    private let directory: TemporaryDirectory
    private static let aclName = "system.posix_acl_access"

    init() throws {
        directory = try TemporaryDirectory()
        try directory.write([1], to: "x")
    }

    private func path(_ name: String) -> String { directory.file(name).string }

    /// An ACL as the kernel keeps it.
    ///
    /// - Parameter entries: tag, permissions, id.
    private static func acl(_ entries: [(tag: UInt16, permissions: UInt16, id: UInt32)]) -> [UInt8] {
        func littleEndian(_ number: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: number.littleEndian) { Array($0) }
        }
        return littleEndian(2 as UInt32)
            + entries.flatMap { littleEndian($0.tag) + littleEndian($0.permissions) + littleEndian($0.id) }
    }

    /// rw for the owner and for user 65534, r for the group, and a mask of rw.
    private static let shared = acl([
        (0x01, 6, .max), (0x02, 6, 65534), (0x04, 4, .max), (0x10, 6, .max), (0x20, 0, .max),
    ])

    private func set(_ name: String, _ value: [UInt8], on file: String) -> Bool {
        guard let device = try? LocalStorage.open(path(file), access: .readWrite, lock: nil) else { return false }
        return clinux_set_attribute(device.fileDescriptor!, name, value, value.count) == 0
    }

    private func value(_ name: String, of file: String) -> [UInt8]? {
        guard let device = try? LocalStorage.open(path(file), access: .readOnly, lock: nil) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 1000)
        let count = clinux_get_attribute(device.fileDescriptor!, name, &bytes, bytes.count)
        return count < 0 ? nil : Array(bytes.prefix(Int(count)))
    }

    private func mode(_ name: String) throws -> mode_t {
        var status = stat()
        try #require(lstat(path(name), &status) == 0)
        return status.st_mode & 0o777
    }

    /// Replaces `x`.
    private func replace() async throws -> [String] {
        let replaced = try LocalStorage.open(path("x"), access: .readOnly, lock: nil)
        let file = try await FilePlace(path: path("x"), replaced: replaced).create(copyRange: .never)
        try Publication(files: [file]).publish()
        return file.lostAttributes
    }

    @Test func accessControlList() async throws {
        try #require(chmod(path("x"), 0o640) == 0)
        // A file system without them has nothing to lose.
        guard set(Self.aclName, Self.shared, on: "x") else { return }
        let before = try #require(value(Self.aclName, of: "x"))
        #expect(try mode("x") == 0o660, "the mask")
        #expect(try await replace() == [])
        #expect(try mode("x") == 0o660)
        #expect(value(Self.aclName, of: "x") == before)
    }

    /// A folder's default ACL gives a new file entries that the old one did not have.
    @Test func defaultOfTheFolder() async throws {
        try #require(chmod(path("x"), 0o640) == 0)
        let descriptor = open(directory.path.string, O_RDONLY | O_DIRECTORY)
        defer { close(descriptor) }
        guard
            clinux_set_attribute(descriptor, "system.posix_acl_default", Self.shared, Self.shared.count) == 0
        else { return }
        #expect(try await replace() == [])
        #expect(try mode("x") == 0o640)
        #expect(value(Self.aclName, of: "x") == nil)
    }

    @Test func ownAttributes() async throws {
        guard set("user.origin", [1, 2, 0, 3], on: "x"), set("user.empty", [], on: "x") else { return }
        #expect(try await replace() == [])
        #expect(value("user.origin", of: "x") == [1, 2, 0, 3])
        #expect(value("user.empty", of: "x") == [])
    }

    /// What can't be kept is told; without the ACL the group gets what its own entry says, and not the mask.
    @Test func lost() throws {
        guard set(Self.aclName, Self.shared, on: "x"), set("user.origin", [1], on: "x") else { return }
        let old = try LocalStorage.open(path("x"), access: .readOnly, lock: nil)
        // A pipe has an owner and a mode, and neither of the others.
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { ends.forEach { close($0) } }
        let lost = InheritedAttributes(old: old.fileDescriptor!, new: ends[0]).apply()
        #expect(lost.count == 2)
        #expect(lost.first?.hasPrefix("its ACL (") == true && lost.last?.hasPrefix("user.origin (") == true, "\(lost)")
        var status = stat()
        try #require(fstat(ends[0], &status) == 0)
        #expect(status.st_mode & 0o777 == 0o640)
    }

    @Test func groupOfAList() {
        let list = AccessControlList(Self.shared)
        #expect(list.groupMode(within: 0o660) == 0o040)
        #expect(list.groupMode(within: 0o600) == 0)
        var cleared = list
        cleared.clearGroup()
        #expect(cleared.groupMode(within: 0o660) == 0)
        #expect(cleared.bytes.count == list.bytes.count)
        #expect(AccessControlList([]).groupMode(within: 0o777) == 0)
        #expect(AccessControlList([2, 0, 0, 0, 4, 0, 7]).groupMode(within: 0o777) == 0)
    }
}
