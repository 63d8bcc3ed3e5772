// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format

/// Names of backing files: paths, protocols and `json:` descriptions.
enum BackingNameFuzzing {
    static func parse(_ input: [UInt8]) {
        let name = String(decoding: input, as: UTF8.self)
        do throws(BackingReference.Unusable) {
            let reference = try BackingReference(name)
            _ = ImagePath.resolve(reference.path, relativeTo: "/folder/image.qcow2")
        } catch {
            // A line for a person: whatever the name holds.
            require(!error.reason.utf8.contains { $0 < 0x20 }, "control characters in a message: \(error.reason)")
        }
    }
}
