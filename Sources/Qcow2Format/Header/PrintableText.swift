// SPDX-License-Identifier: GPL-2.0-or-later

/// Text from an image, fit for one line on a terminal.
func printable(_ bytes: some Sequence<UInt8>) -> String {
    let text = String(decoding: Array(bytes), as: UTF8.self)
    return String(
        String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
}

/// A number as it is written where its bits matter.
func hex(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16) }
