// SPDX-License-Identifier: GPL-2.0-or-later

public import FoundationEssentials

/// What earlier runs of `verify` have found of a backup.
public struct ProofRecord: Sendable, Equatable {
    public enum State: String, Sendable {
        /// It was never looked at, or only when it held something else.
        case never
        /// Some of it has been looked at, and nothing was wrong with that.
        case partly
        /// All of it has been as it was written.
        case proven
        /// Some of it was not as it was written.
        case bad
    }

    public var state = State.never
    /// Whether its structure was found damaged.
    public var isDamaged = false
    /// When something of it was last looked at.
    public var checked: Date?
    /// When all of it was last as it was written.
    public var proven: Date?
    /// Ranges of 1 MiB that were not as written. Counted up to a thousand.
    public var badRanges = 0

    init() {}

    /// - Parameters:
    ///   - content: root digest that the backup's manifest gives.
    ///   - created: when the backup was made: what was found before that was found of another file.
    init(_ verified: VerifyState?, content: String, created: Date) {
        guard let verified, verified.content == content, verified.checked >= created else { return }
        checked = verified.checked
        proven = verified.proven.flatMap { $0 >= created ? $0 : nil }
        badRanges = min(verified.bad.count, 1000)
        isDamaged = verified.isDamaged == true
        state = badRanges > 0 || isDamaged ? .bad : (proven == nil ? .partly : .proven)
    }
}
