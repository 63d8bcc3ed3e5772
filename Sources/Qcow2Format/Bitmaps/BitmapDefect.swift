// SPDX-License-Identifier: GPL-2.0-or-later

/// Why a persistent bitmap can't be relied on, though it is well formed.
public enum BitmapDefect: Sendable, Equatable {
    /// It is marked in use: a program that should have kept it up to date ended before it saved it, or still runs.
    case inconsistent
    /// It carries extra data of an unknown kind, which forbids its use.
    case unknownExtraData
}

extension BitmapDefect: CustomStringConvertible {
    public var description: String {
        switch self {
        case .inconsistent:
            "is inconsistent: it is marked in use, so changes of the disk may be missing from it; it can only be removed"
        case .unknownExtraData:
            "has extra data of an unknown kind and must not be used; it can only be removed"
        }
    }
}
