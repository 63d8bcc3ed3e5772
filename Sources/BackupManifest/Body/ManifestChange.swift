// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// A manifest was changed, or damaged, after its seal was checked.
struct ManifestChange: LayerError {
    let path: String

    var errno: Errno { .ioError }

    var description: String { "\(path): the manifest changes while it is read" }
}
