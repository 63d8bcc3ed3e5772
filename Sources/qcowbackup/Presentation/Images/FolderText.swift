// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// The backups of a folder for a person: a line for each, indented below what it is based on, and what is wrong under it.
struct FolderText: CustomStringConvertible {
    let description: String

    /// Levels that are shown by indentation; below them the level is written in front of the name.
    private static let indentedLevels = 6
    /// Columns of names that lines are aligned for.
    private static let nameColumns = 40

    init(_ folder: BackupFolder) {
        guard !folder.nodes.isEmpty || !folder.strays.isEmpty else {
            description = "\(printable(folder.path)): no backups\n"
            return
        }
        let rows = folder.nodes.map(Self.row)
        var lines: [String] = []
        if !rows.isEmpty {
            let head = ["NAME", "MADE", "MODE", "DISK", "FILE", "PROVEN"]
            let widths = head.indices.map { column in
                let width = ([head] + rows).map { $0[column].count }.max() ?? 0
                return column == 0 ? min(width, Self.nameColumns) : width
            }
            lines.append(Self.line(head, widths))
            for (node, row) in zip(folder.nodes, rows) {
                lines.append(Self.line(row, widths))
                let indentation = Self.indentation(node) + "  "
                if case .outside(let path) = node.parent {
                    lines.append("\(indentation)on \(printable(path)) (outside)")
                }
                if node.isInUse { lines.append("\(indentation)is in use by another program") }
                lines += node.problems.map { "\(indentation)! \(printable($0.message))" }
            }
        }
        if !folder.strays.isEmpty {
            if !lines.isEmpty { lines.append("") }
            lines.append("Other files:")
            lines += folder.strays.map { "  \(printable($0.name)) \(printable($0.message))" }
        }
        description = lines.map { $0 + "\n" }.joined()
    }

    private static func indentation(_ node: BackupNode) -> String {
        String(repeating: "  ", count: min(node.depth, indentedLevels))
    }

    private static func row(_ node: BackupNode) -> [String] {
        let level = node.depth > indentedLevels ? "(\(node.depth)) " : ""
        let mode = node.sync ?? (node.isBackup ? "backup" : node.virtualSize == nil ? "-" : "image")
        return [
            indentation(node) + level + printable(node.name), DateText(node.created).minute, printable(mode),
            node.virtualSize.map { ByteSize($0).description } ?? "-", ByteSize(node.length).description, proof(node),
        ]
    }

    private static func proof(_ node: BackupNode) -> String {
        switch node.manifest {
        case .missing: return node.isBackup ? "no manifest" : "-"
        case .damaged, .foreign: return "-"
        case .present:
            switch node.proof.state {
            case .never: return "never"
            case .partly: return "partly"
            case .bad: return "BAD"
            // What was proven of it holds, and the disk can't be had from it all the same.
            case .proven where !node.isUsable: return "broken chain"
            case .proven: return node.proof.proven.map { DateText($0).day } ?? "-"
            }
        }
    }

    private static func line(_ cells: [String], _ widths: [Int]) -> String {
        let line = zip(cells, widths).map { text, width in
            text + String(repeating: " ", count: max(0, width - text.count))
        }.joined(separator: "  ")
        return String(line.reversed().drop { $0 == " " }.reversed())
    }
}
