// SPDX-License-Identifier: GPL-2.0-or-later

/// A permission over which two users of an image disagree.
package struct ImageLockConflict: Sendable, Hashable {
    package enum Reason: Sendable, Hashable {
        /// We use the permission and someone else does not share it.
        case notSharedByOther
        /// We don't share the permission and someone else uses it.
        case usedByOther
    }

    package let permission: ImagePermissions
    package let reason: Reason

    package init(permission: ImagePermissions, reason: Reason) {
        self.permission = permission
        self.reason = reason
    }

    init(number: Int, reason: Reason) {
        self.init(permission: ImagePermissions(rawValue: 1 << UInt8(number)), reason: reason)
    }
}

extension ImageLockConflict: CustomStringConvertible {
    /// In the words that QEMU's users look for.
    package var description: String {
        switch reason {
        case .notSharedByOther: "Failed to get \"\(permission)\" lock"
        case .usedByOther: "Failed to get shared \"\(permission)\" lock"
        }
    }
}
