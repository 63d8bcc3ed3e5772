// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// `text` as one line that can't control a terminal.
///
/// File names, and the names that an image records, may hold line breaks and escape sequences: control characters become
/// `\n` or `\u{1B}`.
func printable(_ text: String) -> String {
    if text.utf8.allSatisfy({ 0x20..<0x7f ~= $0 }) { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        // What most names are made of, and what stands for bytes that are no text: looking up categories is slow.
        if 0x20..<0x7f ~= scalar.value || scalar.value == 0xfffd {
            result.unicodeScalars.append(scalar)
            continue
        }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator:
            result += scalar.escaped(asASCII: true)
        default:
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}

/// An error or a warning as one line for a person.
enum ErrorText {
    static func error(_ error: ServiceError) -> String {
        let advice = error.advice.map { " (\(printable($0)))" } ?? ""
        return "qcowbackup: \(printable(error.message))\(advice)"
    }

    static func warning(_ message: String) -> String {
        "qcowbackup: warning: \(printable(message))"
    }
}
