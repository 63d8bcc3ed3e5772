// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BackupService
import DiskChain
import FoundationEssentials
import Qcow2Format

/// What is known of images, as qemu-img writes it for people; what that doesn't tell comes behind.
struct InfoText: CustomStringConvertible {
    let description: String

    init(_ report: InfoReport) {
        // An empty line between images.
        description = report.images.map(Self.text).joined(separator: "\n")
    }

    private static func text(_ image: ImageReport) -> String {
        var lines = [
            "image: \(printable(image.path))", "file format: \(image.format.rawValue)",
            "virtual size: \(QEMUSize(image.virtualSize)) (\(image.virtualSize) bytes)",
            "disk size: \(image.actualSize.map { QEMUSize($0).description } ?? "unavailable")",
        ]
        if let qcow2 = image.qcow2 {
            if qcow2.facts.encryption != nil { lines.append("encrypted: yes") }
            lines.append("cluster_size: \(qcow2.facts.clusterLength)")
            if qcow2.facts.isDirty { lines.append("cleanly shut down: no") }
        }
        lines += backing(image)
        if let qcow2 = image.qcow2 {
            if !qcow2.snapshots.isEmpty {
                lines.append("Snapshot list:")
                lines.append(row("ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT"))
                lines += qcow2.snapshots.map(row)
            }
            lines.append("Format specific information:")
            append(Qcow2Node.node(qcow2), to: &lines, indentation: "    ")
        }
        return (lines + extra(image)).map { $0 + "\n" }.joined()
    }

    private static func backing(_ image: ImageReport) -> [String] {
        guard let name = image.backingFileName else { return [] }
        var line = "backing file: \(printable(name))"
        if let full = image.fullBackingFileName, full != name { line += " (actual path: \(printable(full)))" }
        return [line] + (image.backingFormat.map { ["backing file format: \(printable($0))"] } ?? [])
    }

    // MARK: Snapshots

    private static func row(_ snapshot: Snapshot) -> String {
        let milliseconds = snapshot.vmClockNanoseconds / 1_000_000
        let seconds = milliseconds / 1000
        let clock =
            "\(padded(seconds / 3600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))."
            + padded(milliseconds % 1000, 3)
        return row(
            printable(snapshot.id), printable(snapshot.name), QEMUSize(snapshot.vmStateSize).description,
            DateText(seconds: snapshot.dateSeconds).second, clock, snapshot.instructionCount.map { "\($0)" } ?? "")
    }

    private static func row(
        _ id: String, _ tag: String, _ size: String, _ date: String, _ clock: String, _ count: String
    ) -> String {
        left(id, 10) + left(tag, 17) + right(size, 8) + right(date, 20) + right(clock, 13) + right(count, 11)
    }

    private static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: width - text.prefix(width).count)
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: width - text.prefix(width).count) + text
    }

    private static func padded(_ number: UInt64, _ width: Int) -> String {
        let digits = "\(number)"
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    // MARK: Values of any shape

    private static func append(_ node: JSONNode, to lines: inout [String], indentation: String) {
        switch node {
        case .object(let members):
            for (key, value) in members {
                let name = key.map { $0 == "-" ? " " : $0 }
                append(value, named: String(name), to: &lines, indentation: indentation)
            }
        case .list(let elements):
            for (index, value) in elements.enumerated() {
                append(value, named: "[\(index)]", to: &lines, indentation: indentation)
            }
        case .text, .number, .flag: break
        }
    }

    private static func append(
        _ node: JSONNode, named name: String, to lines: inout [String], indentation: String
    ) {
        switch node {
        case .text(let text): lines.append("\(indentation)\(name): \(printable(text))")
        case .number(let number): lines.append("\(indentation)\(name): \(number)")
        case .flag(let flag): lines.append("\(indentation)\(name): \(flag)")
        case .list, .object:
            lines.append("\(indentation)\(name):")
            append(node, to: &lines, indentation: indentation + "    ")
        }
    }

    // MARK: What qemu-img doesn't tell

    private static func text(_ manifest: ManifestReport) -> String {
        switch manifest.state {
        case .missing: return "\(manifest.path): it is gone"
        case .damaged(let reason): return "\(manifest.path): not usable: \(reason)"
        case .foreign(let reason): return "\(manifest.path): not of this image: \(reason)"
        case .present(let header):
            return "\(manifest.path), made \(DateText(header.created).second) by \(header.writer), "
                + "\(header.digest) \(header.content), \(text(manifest.proof))"
        }
    }

    private static func text(_ proof: ProofRecord) -> String {
        func day(_ date: Date?) -> String { date.map { DateText($0).day } ?? "-" }
        return switch proof.state {
        case .never: "not verified"
        case .partly: "partly verified, last \(day(proof.checked))"
        case .proven: "proven \(day(proof.proven))"
        case .bad: "BAD: not as it was written, found \(day(proof.checked))"
        }
    }

    private static func extra(_ image: ImageReport) -> [String] {
        var lines: [String] = []
        if image.isUnfinished {
            lines.append(
                "unfinished: yes (a backup that still runs or was interrupted: not to be used)")
        } else if image.hasBlankHead {
            lines.append(
                "blank head: yes (the first 64 KiB: a disk without a boot sector, or a backup that was interrupted)")
        }
        if let identity = image.qcow2?.identity {
            lines.append("backup: \(identity.id)")
            if let parent = identity.parent?.id { lines.append("parent backup: \(parent)") }
        }
        if let manifest = image.manifest { lines.append("manifest: \(printable(text(manifest)))") }
        guard let facts = image.qcow2?.facts else { return lines }
        if !facts.unknownFeatures.isEmpty {
            lines.append("unknown features: \(facts.unknownFeatures.map(printable).joined(separator: ", "))")
        }
        if !facts.unknownExtensions.isEmpty {
            let types = facts.unknownExtensions.map { "0x" + String($0, radix: 16) }
            lines.append("unknown header extensions: \(types.joined(separator: ", "))")
        }
        if facts.hasStaleBitmaps {
            lines.append("stale bitmaps: yes (a program that doesn't know them has written to the image)")
        }
        return lines
    }
}
