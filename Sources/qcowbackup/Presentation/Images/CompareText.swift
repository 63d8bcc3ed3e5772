// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// What a comparison found, in the words of qemu-img.
struct CompareText: CustomStringConvertible {
    let description: String

    /// qemu-img compares sectors.
    private static let sectorLength: UInt64 = 512

    init(_ report: CompareReport) {
        var text = ""
        if report.hasComparedCommonPart, report.firstLength != report.secondLength {
            text += "Warning: Image size mismatch!\n"
        }
        switch report.difference {
        case .content(let offset):
            text += "Content mismatch at offset \(offset / Self.sectorLength * Self.sectorLength)!\n"
        case .allocation(let offset): text += "Strict mode: Offset \(offset) block status mismatch!\n"
        case .length: text += "Strict mode: Image size mismatch!\n"
        case nil: text += "Images are identical.\n"
        }
        description = text
    }
}
