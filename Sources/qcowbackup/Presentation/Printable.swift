// SPDX-License-Identifier: GPL-2.0-or-later

/// `text` as one line that can't control a terminal.
///
/// File names, and the names that an image records, may hold line breaks and escape sequences: control characters become
/// `\n` or `\u{1B}`.
func printable(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator:
            result += scalar.escaped(asASCII: true)
        default:
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}
