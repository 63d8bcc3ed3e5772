// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc

/// A manifest that is on stable storage, and may not have got its name yet.
struct WrittenManifest: Sendable {
    let file: UnnamedFile
    /// Root digest of the content, in hexadecimal digits.
    let content: String

    /// Takes it away again, for a backup that is not made after all.
    func withdraw() {
        file.remove()
        if (try? FileStatus(path: file.place.path, followsLink: false))?.identity == file.device.identity {
            _ = unlink(file.place.path)
        }
    }
}
