// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

extension JSONLine {
    struct Verification: Encodable {
        struct Bad: Encodable {
            let start: UInt64
            let length: UInt64
            let reason: String
            let message: String?
        }

        struct Layer: Encodable {
            let file: String
            let verdict: String
            /// Root digest of the content by its manifest.
            let content: String?
            let manifest: String?
            /// Why there is nothing to prove the content by.
            let manifestProblem: String?
            let structureProblems: [String]?
            let problems: [String]
            let checkedRanges: UInt64
            let ranges: UInt64
            let checkedLength: UInt64
            let heldLength: UInt64
            let complete: Bool
            /// Whether something was written to it meanwhile.
            let changed: Bool
            let bad: [Bad]

            enum CodingKeys: String, CodingKey {
                case file, verdict, content, manifest, problems, ranges, complete, changed, bad
                case manifestProblem = "manifest-problem"
                case structureProblems = "structure-problems"
                case checkedRanges = "checked-ranges"
                case checkedLength = "checked-length"
                case heldLength = "held-length"
            }
        }

        struct Backup: Encodable {
            let backup: String
            let verdict: String
            let problems: [String]
            /// Why it could not be looked at.
            let error: String?
            let comparison: Comparison?
            let layers: [Layer]
            let seconds: Double

        }

        struct Comparison: Encodable {
            let comparedLength: UInt64
            let length: UInt64
            let firstDifference: UInt64?

            enum CodingKeys: String, CodingKey {
                case length
                case comparedLength = "compared-length"
                case firstDifference = "first-difference"
            }
        }

        let verdict: String
        let backups: [Backup]
    }

    static func verification(_ reports: [VerifyReport]) -> String {
        encode(
            Verification(
                verdict: (reports.map(\.verdict).max() ?? .unproven).rawValue, backups: reports.map(backup)))
    }

    private static func backup(_ report: VerifyReport) -> Verification.Backup {
        Verification.Backup(
            backup: report.backup, verdict: report.verdict.rawValue, problems: report.problems,
            error: report.failure?.message,
            comparison: report.comparison.map {
                Verification.Comparison(
                    comparedLength: $0.comparedLength, length: $0.length, firstDifference: $0.firstDifference)
            },
            layers: report.layers.map(layer),
            seconds: thousandths(report.seconds))
    }

    private static func layer(_ layer: VerifiedLayer) -> Verification.Layer {
        var (manifest, content, problem): (String?, String?, String?)
        switch layer.manifest {
        case .notUsed: break
        case .missing: problem = "missing"
        case .unusable(let reason): problem = reason
        case .used(let path, let root): (manifest, content) = (path, root)
        }
        return Verification.Layer(
            file: layer.path, verdict: layer.verdict.rawValue, content: content, manifest: manifest,
            manifestProblem: problem, structureProblems: layer.structureProblems, problems: layer.problems,
            checkedRanges: layer.checkedRanges, ranges: layer.rangeCount,
            checkedLength: layer.checkedLength, heldLength: layer.length, complete: layer.isComplete,
            changed: layer.hasChanged,
            bad: layer.bad.map { bad in
                Verification.Bad(
                    start: bad.range.lowerBound, length: UInt64(bad.range.count), reason: bad.reason.rawValue,
                    message: bad.message)
            })
    }
}
