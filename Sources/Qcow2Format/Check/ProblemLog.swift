// SPDX-License-Identifier: GPL-2.0-or-later

/// The problems of an image: all are counted, and the first of each kind are kept.
struct ProblemLog: Sendable {
    /// Problems of a kind that are kept.
    private static let keptPerKind = 32

    private(set) var problems: [CheckProblem] = []
    /// How many there are of each kind, those included that are not kept.
    private(set) var counts: [CheckProblem.Kind: UInt64] = [:]
    private(set) var corruptions: UInt64 = 0
    private(set) var leaks: UInt64 = 0
    private(set) var unchecked: UInt64 = 0
    private var kept: [CheckProblem.Kind: Int] = [:]
    private var covered: [CheckProblem.Kind: UInt64] = [:]

    /// Notes a problem.
    ///
    /// - Parameter count: how many it stands for; none is noted for 0.
    mutating func note(
        _ kind: CheckProblem.Kind, _ severity: CheckProblem.Severity, _ subject: String,
        at hostOffset: UInt64? = nil, guest guestOffset: UInt64? = nil, count: UInt64 = 1,
        _ reason: @autoclosure () -> String
    ) {
        guard count > 0 else { return }
        counts[kind, default: 0] &+= count
        switch severity {
        case .corruption: corruptions &+= count
        case .leak: leaks &+= count
        case .unchecked: unchecked &+= count
        case .warning: break
        }
        guard kept[kind, default: 0] < Self.keptPerKind else { return }
        kept[kind, default: 0] += 1
        covered[kind, default: 0] &+= count
        problems.append(
            CheckProblem(
                kind: kind, severity: severity, subject: subject, hostOffset: hostOffset, guestOffset: guestOffset,
                reason: reason(), count: count))
    }

    /// Notes a corruption.
    mutating func note(
        _ kind: CheckProblem.Kind, _ subject: String, at hostOffset: UInt64? = nil, guest guestOffset: UInt64? = nil,
        count: UInt64 = 1, _ reason: @autoclosure () -> String
    ) {
        note(kind, .corruption, subject, at: hostOffset, guest: guestOffset, count: count, reason())
    }

    /// How many of each kind are counted and not kept.
    var omitted: [CheckProblem.Kind: UInt64] {
        counts.reduce(into: [:]) { result, pair in
            let rest = pair.value &- covered[pair.key, default: 0]
            if rest > 0 { result[pair.key] = rest }
        }
    }

    func count(of kinds: CheckProblem.Kind...) -> UInt64 {
        kinds.reduce(0) { $0 &+ counts[$1, default: 0] }
    }
}
