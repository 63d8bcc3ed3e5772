// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import CLinux
import Glibc
import SystemPackage

/// What a new file takes over from the one that it is to replace, but for its content: owner, group, permissions, access
/// control list (ACL) and the other extended attributes.
///
/// Nobody gets a right by it that the old file did not give. So where the ACL can't be kept, the group gets what its own
/// entry says: the group's bits of the mode are then the ACL's mask.
struct InheritedAttributes {
    /// Open descriptors.
    let old: Int32
    let new: Int32

    private static let aclName = "system.posix_acl_access"
    /// What belongs to a file's content, or to the system's own book-keeping.
    private static let leftOut: Set<String> = ["security.capability", "security.ima", "security.evm"]
    /// Longest value that a kernel takes, in bytes.
    private static let maximumLength = 1 << 16

    /// `nil` for what are no files of this machine.
    init?(from old: any Storage, to new: any Storage) {
        guard let old = old.fileDescriptor, let new = new.fileDescriptor else { return nil }
        self.init(old: old, new: new)
    }

    init(old: Int32, new: Int32) {
        self.old = old
        self.new = new
    }

    /// Gives the new file what the old one has.
    ///
    /// - Returns: what could not be kept, one text each.
    func apply() -> [String] {
        var status = stat()
        guard fstat(old, &status) == 0 else { return ["its owner and permissions (\(Errno.current))"] }
        var lost: [String] = []
        var mode = status.st_mode & 0o777
        var acl = value(of: Self.aclName, in: old).map(AccessControlList.init)
        if !giveOwner(status, &lost) {
            // What its group might do must not be granted to a different group.
            mode &= ~0o070
            acl?.clearGroup()
        }
        if let acl {
            if set(Self.aclName, to: acl.bytes) != nil { mode = mode & ~0o070 | acl.groupMode(within: mode) }
        } else {
            // The folder may give new files one.
            _ = clinux_remove_attribute(new, Self.aclName)
        }
        if fchmod(new, mode) != 0 { lost.append("its permissions (\(Errno.current))") }
        // Once more, since the mode changes its mask.
        if let acl, let error = set(Self.aclName, to: acl.bytes) { lost.append("its ACL (\(error))") }
        for name in names where name != Self.aclName && !Self.leftOut.contains(name) {
            guard let value = value(of: name, in: old), value != self.value(of: name, in: new) else { continue }
            if let error = set(name, to: value) { lost.append("\(name) (\(error))") }
        }
        return lost
    }

    /// - Returns: whether the group is as it was.
    private func giveOwner(_ status: stat, _ lost: inout [String]) -> Bool {
        if fchown(new, status.st_uid, status.st_gid) == 0 { return true }
        let error = Errno.current
        var present = stat()
        guard fstat(new, &present) == 0 else { return false }
        if present.st_uid != status.st_uid { lost.append("its owner (\(error))") }
        if present.st_gid == status.st_gid || fchown(new, uid_t.max, status.st_gid) == 0 { return true }
        lost.append("its group (\(error))")
        return false
    }

    private var names: [String] {
        var bytes = [CChar](repeating: 0, count: Self.maximumLength)
        let count = clinux_list_attributes(old, &bytes, bytes.count)
        guard count > 0 else { return [] }
        return bytes.prefix(Int(count)).split(separator: 0).map { name in
            String(decoding: name.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    private func value(of name: String, in descriptor: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: Self.maximumLength)
        let count = clinux_get_attribute(descriptor, name, &bytes, bytes.count)
        return count >= 0 ? Array(bytes.prefix(Int(count))) : nil
    }

    private func set(_ name: String, to value: [UInt8]) -> Errno? {
        clinux_set_attribute(new, name, value, value.count) == 0 ? nil : .current
    }
}

extension Errno {
    /// The calling thread's last error.
    fileprivate static var current: Errno { Errno(rawValue: errno) }
}
