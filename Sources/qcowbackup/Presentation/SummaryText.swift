// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// The last line of a backup that succeeded.
struct SummaryText: CustomStringConvertible {
    let summary: BackupSummary
    /// Whether clusters were compressed: then the line says how well.
    let isCompressed: Bool

    var description: String {
        var parts = [
            "read \(ByteSize(summary.bytesRead))",
            "written \(ByteSize(summary.bytesWritten))",
            "zero \(ByteSize(summary.bytesZero))",
            "skipped \(ByteSize(summary.bytesSkipped))",
        ]
        if summary.bytesOffloaded > 0 {
            parts[1] += " (\(ByteSize(summary.bytesOffloaded)) by the kernel)"
        }
        if let length = summary.targetLength {
            var text = "target \(ByteSize(length))"
            if isCompressed, let ratio = summary.compressionRatio {
                text += " (ratio \(Decimal(ratio, digits: 2)))"
            }
            parts.append(text)
        }
        if let proof = summary.proof { parts.append(Self.text(proof)) }
        let time = "\(Decimal(summary.seconds, digits: 1)) s, \(ByteSize(summary.bytesPerSecond))/s"
        return "\(printable(summary.target)): \(kind)\(parts.joined(separator: ", ")) in \(time)"
    }

    private static func text(_ proof: BackupSummary.Proof) -> String {
        switch proof {
        case .all: "all proven"
        case .part: "proven in part"
        case .none: "not proven for want of a manifest"
        }
    }

    /// What was made, where that does not go without saying.
    private var kind: String {
        guard let bitmap = summary.bitmap else { return "" }
        if let parent = bitmap.parent {
            return (bitmap.isUnchanged ? "nothing changed since " : "changes since ") + "\(printable(parent)): "
        }
        return bitmap.fallback == nil ? "" : "full backup instead of an increment: "
    }
}
