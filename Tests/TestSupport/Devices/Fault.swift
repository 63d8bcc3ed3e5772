// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage

/// A rule by which calls of one kind fail.
package struct Fault: Sendable, Equatable {
    package let kind: RequestKind
    /// Numbers of the calls that fail, counted from 1 for each kind.
    package let calls: ClosedRange<Int>
    package let errno: Errno

    /// The `number`th call of a kind fails.
    package static func call(_ number: Int, of kind: RequestKind, with errno: Errno = .ioError) -> Fault {
        Fault(kind: kind, calls: number...number, errno: errno)
    }

    /// Each call of a kind fails, from the `number`th on.
    package static func calls(from number: Int, of kind: RequestKind, with errno: Errno = .ioError) -> Fault {
        Fault(kind: kind, calls: number...Int.max, errno: errno)
    }
}
