// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import Glibc
import Qcow2Format

/// What a check found, for a person and for scripts that read qemu-img's text.
struct CheckText {
    let result: CheckResult

    private var report: CheckReport { result.report }

    /// One line for each problem, and one for each kind of which there are more.
    var problems: String {
        let listed = report.problems.map { problem in
            let label =
                switch problem.severity {
                case .corruption: "ERROR"
                case .leak: "Leak"
                case .unchecked: "ERROR (not checked)"
                case .warning: "Warning"
                }
            return "\(label): \(printable(problem.description))\n"
        }
        let more = CheckProblem.Kind.allCases.compactMap { kind in
            report.omitted[kind].map { "... and \($0) more of the kind \(kind.rawValue)\n" }
        }
        return (listed + more).joined()
    }

    /// The result as qemu-img words it, because scripts look for these lines.
    var summary: String {
        // As good as unopened.
        guard report.imageEndOffset > 0 else { return "" }
        var text = ""
        if result.corruptionsFixed > 0 || result.leaksFixed > 0 {
            text += """
                The following inconsistencies were found and repaired:

                    \(result.leaksFixed) leaked clusters
                    \(result.corruptionsFixed) corruptions


                """
        }
        if report.isClean {
            text += "No errors were found on the image.\n"
        } else {
            if report.corruptions > 0 {
                text += "\n\(report.corruptions) errors were found on the image.\n"
                text += "Data may be corrupted, or further writes to the image may corrupt it.\n"
            }
            if report.leaks > 0 {
                text += "\n\(report.leaks) leaked clusters were found on the image.\n"
                text += "This means waste of disk space, but no harm to data.\n"
            }
            if report.checkErrors > 0 {
                text += "\n\(report.checkErrors) internal errors have occurred during the check.\n"
            }
        }
        if report.totalClusters > 0, report.allocatedClusters > 0 {
            let allocated = percent(report.allocatedClusters, of: report.totalClusters)
            let fragmented = percent(report.fragmentedClusters, of: report.allocatedClusters)
            let compressed = percent(report.compressedClusters, of: report.allocatedClusters)
            text += "\(report.allocatedClusters)/\(report.totalClusters) = \(allocated)% allocated, "
            text += "\(fragmented)% fragmented, \(compressed)% compressed clusters\n"
        }
        return text + "Image end offset: \(report.imageEndOffset)\n"
    }

    /// Rounded as C does it, halves to even.
    private func percent(_ part: UInt64, of whole: UInt64) -> String {
        var text = [CChar](repeating: 0, count: 32)
        let count = withVaList([Double(part) * 100 / Double(whole)]) { vsnprintf(&text, text.count, "%.2f", $0) }
        return String(decoding: text.prefix(Int(count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
