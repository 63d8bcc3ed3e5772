// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import DiskChain
import Qcow2Format

extension JSONLine {
    /// Keys and when they are there as with qemu-img; problems are ours.
    private struct Check: Encodable {
        struct Problem: Encodable {
            let kind: String
            let severity: String
            let what: String
            let offset: UInt64?
            let guestOffset: UInt64?
            let why: String
            let count: UInt64

            enum CodingKeys: String, CodingKey {
                case kind, severity, what, offset
                case guestOffset = "guest-offset"
                case why, count
            }
        }

        let filename: String
        let format: String
        let checkErrors: UInt64
        let imageEndOffset: UInt64?
        let corruptions: UInt64?
        let leaks: UInt64?
        let corruptionsFixed: UInt64?
        let leaksFixed: UInt64?
        let totalClusters: UInt64?
        let allocatedClusters: UInt64?
        let fragmentedClusters: UInt64?
        let compressedClusters: UInt64?
        let problems: [Problem]
        let problemsOmitted: [String: UInt64]?

        enum CodingKeys: String, CodingKey {
            case filename, format
            case checkErrors = "check-errors"
            case imageEndOffset = "image-end-offset"
            case corruptions, leaks
            case corruptionsFixed = "corruptions-fixed"
            case leaksFixed = "leaks-fixed"
            case totalClusters = "total-clusters"
            case allocatedClusters = "allocated-clusters"
            case fragmentedClusters = "fragmented-clusters"
            case compressedClusters = "compressed-clusters"
            case problems
            case problemsOmitted = "problems-omitted"
        }
    }

    static func check(_ result: CheckResult) -> String {
        // Numbers that are 0 are left out.
        func some(_ number: UInt64) -> UInt64? { number == 0 ? nil : number }
        let report = result.report
        let problems = report.problems.map { problem in
            Check.Problem(
                kind: problem.kind.rawValue, severity: problem.severity.rawValue, what: problem.subject,
                offset: problem.hostOffset, guestOffset: problem.guestOffset, why: problem.reason,
                count: problem.count)
        }
        let omitted = Dictionary(uniqueKeysWithValues: report.omitted.map { ($0.key.rawValue, $0.value) })
        return encode(
            Check(
                filename: result.image, format: result.format.rawValue, checkErrors: report.checkErrors,
                imageEndOffset: some(report.imageEndOffset), corruptions: some(report.corruptions),
                leaks: some(report.leaks), corruptionsFixed: some(result.corruptionsFixed),
                leaksFixed: some(result.leaksFixed), totalClusters: some(report.totalClusters),
                allocatedClusters: some(report.allocatedClusters), fragmentedClusters: some(report.fragmentedClusters),
                compressedClusters: some(report.compressedClusters), problems: problems,
                problemsOmitted: omitted.isEmpty ? nil : omitted))
    }
}
