// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import Qcow2Format

/// Names of backing files: paths, protocols and `json:` descriptions.
enum BackingNameFuzzing {
    static func parse(_ input: [UInt8]) {
        let name = String(decoding: input, as: UTF8.self)
        do throws(BackingReference.Unusable) {
            let reference = try BackingReference(name)
            _ = ImagePath.resolve(reference.path, relativeTo: "/folder/image.qcow2")
        } catch {
            require(!error.reason.isEmpty, "a name is refused without a reason")
        }
    }
}
