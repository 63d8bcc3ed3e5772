// SPDX-License-Identifier: GPL-2.0-or-later

/// What became of the proof of one backup and its chain.
package struct VerifyReport: Sendable {
    /// What the proof comes to, from the best to the worst.
    package enum Verdict: String, Sendable, Comparable {
        /// All of it is as it was.
        case proven
        /// What was looked at is as it was, and that was not all.
        case sound
        /// Nothing is known to be wrong, but not all of it can be proven.
        case unproven
        /// Nothing is known to be wrong with the backup, and the disk to compare with holds something else.
        case different
        /// Something is not as it was when the backup was made.
        case bad

        private var rank: Int {
            switch self {
            case .proven: 0
            case .sound: 1
            case .unproven: 2
            case .different: 3
            case .bad: 4
            }
        }

        package static func < (one: Verdict, other: Verdict) -> Bool { one.rank < other.rank }
    }

    /// How a disk compares with what the backup shows.
    package struct Comparison: Sendable, Equatable {
        /// In bytes; `nil` where none was found.
        package var firstDifference: UInt64?
        /// Bytes that were compared, of how many.
        package var comparedLength: UInt64
        package var length: UInt64

        package init(firstDifference: UInt64?, comparedLength: UInt64, length: UInt64) {
            self.firstDifference = firstDifference
            self.comparedLength = comparedLength
            self.length = length
        }

        /// Whether there was time for all of it.
        package var isComplete: Bool { comparedLength == length }
    }

    package var backup: String
    /// The files of the chain, top first; empty where it could not be opened.
    package var layers: [VerifiedLayer] = []
    /// Why it, or the disk to compare it with, could not be looked at; `nil` where both could.
    package var failure: ServiceError?
    /// What is wrong with the chain as such.
    package var problems: [String] = []
    /// What became of the comparison with a disk; `nil` where none was asked for.
    package var comparison: Comparison?
    package var seconds = 0.0

    package var verdict: Verdict {
        if !problems.isEmpty { return .bad }
        let verdict = max(layers.map(\.verdict).max() ?? .unproven, failure == nil ? .proven : .unproven)
        guard let comparison else { return verdict }
        if comparison.firstDifference != nil { return max(verdict, .different) }
        return comparison.isComplete ? verdict : max(verdict, .sound)
    }
}

/// What became of the proof of one file of a chain.
package struct VerifiedLayer: Sendable {
    package enum ManifestState: Sendable, Equatable {
        /// It was not looked for: only the structure was asked for.
        case notUsed
        case missing
        /// It is there, and can't be used; for what reason.
        case unusable(String)
        case used(path: String, content: String)
    }

    package var path: String
    package var manifest: ManifestState
    /// Whether there was time to look at it at all.
    package var wasSeen = false
    /// What is wrong with the structure; empty where nothing is, `nil` where the format has none.
    package var structureProblems: [String]?
    /// What doesn't fit the rest of the chain.
    package var problems: [String] = []
    /// Ranges of the disk that were checked, of how many.
    package var checkedRanges: UInt64 = 0
    package var rangeCount: UInt64 = 0
    /// Bytes of what the file holds that were checked, of how many.
    package var checkedLength: UInt64 = 0
    package var length: UInt64 = 0
    /// Whether all ranges have been checked, in this run or with earlier ones that had no time for all.
    package var isComplete = false
    /// Ranges that are not as they were, in the order of the disk.
    package var bad: [BadRange] = []
    /// Ranges that were bad when they were last looked at, and for which there was no time.
    package var unseenBad = 0
    /// Whether something was written to it while it was looked at.
    package var hasChanged = false

    /// Bytes of the disk that are not as they were.
    package var badLength: UInt64 { bad.reduce(0) { $0 + UInt64($1.range.count) } }

    init(path: String, manifest: ManifestState) {
        self.path = path
        self.manifest = manifest
    }

    package var verdict: VerifyReport.Verdict {
        if !problems.isEmpty || !bad.isEmpty || unseenBad > 0 || structureProblems?.isEmpty == false { return .bad }
        switch manifest {
        case .notUsed: return wasSeen ? .sound : .unproven
        case .used where hasChanged: return .unproven
        case .used: return isComplete ? .proven : .sound
        case .missing, .unusable: return .unproven
        }
    }
}
