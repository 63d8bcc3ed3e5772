// SPDX-License-Identifier: GPL-2.0-or-later

public import SystemPackage

/// A rule by which calls of one kind fail.
public struct Fault: Sendable, Equatable {
    public let kind: RequestKind
    /// Numbers of the calls that fail, counted from 1 for each kind.
    public let calls: ClosedRange<Int>
    public let errno: Errno

    /// The `number`th call of a kind fails.
    public static func call(_ number: Int, of kind: RequestKind, with errno: Errno = .ioError) -> Fault {
        Fault(kind: kind, calls: number...number, errno: errno)
    }

    /// Each call of a kind fails, from the `number`th on.
    public static func calls(from number: Int, of kind: RequestKind, with errno: Errno = .ioError) -> Fault {
        Fault(kind: kind, calls: number...Int.max, errno: errno)
    }
}
