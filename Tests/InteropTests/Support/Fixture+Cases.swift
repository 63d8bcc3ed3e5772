// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import Qcow2Format
import TestSupport

extension Fixture {
    /// Images that must be read.
    static func accepted() throws -> [Fixture] {
        try all().filter { $0.facts.error == nil && $0.facts.bitmaps == nil }
    }

    /// Images whose disk must be read, and whose bitmaps are damaged: QEMU doesn't open them.
    static func withDamagedBitmaps() throws -> [Fixture] { try all().filter { $0.facts.bitmaps != nil } }

    /// Images that must be refused.
    static func refused() throws -> [Fixture] { try all().filter { $0.facts.error != nil } }

    /// The internal snapshot that the facts are about.
    var snapshot: String? { argument(after: "--snapshot") }

    /// `nil` where the program is to recognise the format.
    var givenFormat: ImageFormat? { argument(after: "-f").flatMap { ImageFormat(rawValue: $0) } }

    private func argument(after option: String) -> String? {
        guard let index = facts.arguments.firstIndex(of: option) else { return nil }
        return facts.arguments[index + 1]
    }
}
