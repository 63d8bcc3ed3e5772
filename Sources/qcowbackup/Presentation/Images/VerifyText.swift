// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BackupService

/// What became of a proof, for a person: a line for each file, what is wrong under it, and the verdict.
struct VerifyText: CustomStringConvertible {
    let description: String

    /// Bad ranges that are listed of a file.
    private static let listedRanges = 20

    init(_ reports: [VerifyReport]) {
        description = reports.flatMap(Self.lines).map { printable($0) + "\n" }.joined()
    }

    private static func lines(_ report: VerifyReport) -> [String] {
        var lines: [String] = []
        for layer in report.layers { lines += Self.lines(layer) }
        lines += report.problems.map { "  \($0)" }
        if let failure = report.failure {
            lines.append("  \(failure.message)" + (failure.advice.map { " (\($0))" } ?? ""))
        }
        if let comparison = report.comparison { lines.append(Self.line(comparison)) }
        let verdict =
            switch report.verdict {
            case .proven: "PROVEN"
            case .sound where report.layers.allSatisfy { $0.manifest == .notUsed }: "its structure is sound"
            case .sound where report.layers.allSatisfy { $0.checkedRanges == 0 }: "none of its content was looked at"
            case .sound: "what was looked at is as it was written"
            case .unproven where report.layers.isEmpty: "could NOT be looked at"
            case .unproven: "NOT PROVEN, though nothing wrong was found"
            case .different where report.layers.allSatisfy { $0.verdict == .proven }: "PROVEN, but the disk DIFFERS"
            case .different: "the disk DIFFERS"
            case .bad: "BAD"
            }
        return lines + ["\(report.backup): \(verdict) (\(Decimal(report.seconds, digits: 1)) s)"]
    }

    private static func line(_ comparison: VerifyReport.Comparison) -> String {
        if let offset = comparison.firstDifference { return "  the disk differs from the backup at offset \(offset)" }
        return comparison.isComplete
            ? "  the disk reads as the backup does"
            : "  \(ByteSize(comparison.comparedLength)) of \(ByteSize(comparison.length)) of the disk compared, no difference"
    }

    private static func lines(_ layer: VerifiedLayer) -> [String] {
        var lines = ["\(layer.path): \(content(layer))"]
        lines += (layer.structureProblems ?? []).map { "  \($0): see qcowbackup check" }
        lines += layer.problems.map { "  \($0)" }
        lines += layer.bad.prefix(listedRanges).map { bad in
            let range = "bytes \(bad.range.lowerBound) to \(bad.range.upperBound - 1) of the disk"
            switch bad.reason {
            case .differs: return "  \(range) are not what was written"
            case .unexpected: return "  \(range) hide what the backing file holds, which this backup left as it was"
            case .unreadable: return "  \(range) can't be read: \(bad.message ?? "")"
            }
        }
        if layer.bad.count > listedRanges { lines.append("  ... and \(layer.bad.count - listedRanges) more") }
        return lines
    }

    private static func content(_ layer: VerifiedLayer) -> String {
        guard layer.wasSeen else { return "not looked at" }
        switch layer.manifest {
        case .notUsed: return layer.structureProblems == nil ? "raw: no structure to check" : "structure checked"
        case .missing: return "no manifest, so its content can't be proven"
        case .unusable(let reason): return "its content can't be proven: \(reason)"
        case .used:
            var text = "\(ByteSize(layer.checkedLength))"
            if layer.checkedLength < layer.length { text += " of \(ByteSize(layer.length))" }
            text += " checked"
            if layer.isComplete, layer.checkedRanges < layer.rangeCount { text += ", the rest by earlier runs" }
            if layer.hasChanged { return "\(text), but something was written to it meanwhile" }
            if !layer.bad.isEmpty { return "\(text), NOT as written in \(ByteSize(layer.badLength)) of the disk" }
            if layer.unseenBad > 0 { return "\(text); \(layer.unseenBad) MiB were bad the last time: no time to look" }
            return layer.checkedRanges == 0 && layer.length > 0 ? text : "\(text), as written"
        }
    }
}
