// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import Qcow2Format

/// The bitmaps of an image as a table, one to a line; empty for none.
struct BitmapTable: CustomStringConvertible {
    let report: BitmapReport

    var description: String {
        guard !report.bitmaps.isEmpty else { return "" }
        let rows = [["NAME", "GRANULARITY", "STATE", "DIRTY"]] + report.bitmaps.map(Self.row)
        let widths = (0..<rows[0].count).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = zip(row, widths).map { text, width in
                text + String(repeating: " ", count: width - text.count)
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed()) + "\n"
        }.joined()
    }

    private static func row(_ bitmap: BitmapReport.Bitmap) -> [String] {
        let state =
            switch bitmap.defect {
            case .inconsistent: "inconsistent (in use)"
            case .unknownExtraData: "unusable (unknown extra data)"
            case nil: bitmap.isRecording ? "recording" : "disabled"
            }
        return [
            printable(bitmap.name), ByteSize(bitmap.granularity).description, state,
            bitmap.dirtyLength.map { ByteSize($0).description } ?? "-",
        ]
    }
}
