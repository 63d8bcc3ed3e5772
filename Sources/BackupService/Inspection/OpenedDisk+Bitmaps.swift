// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format

extension OpenedDisk.Layer {
    /// The image whose bitmaps a user names.
    ///
    /// - Throws: `ServiceError` with the code `usage` for a raw disk.
    func imageWithBitmaps() throws(ServiceError) -> Qcow2File {
        guard let image else {
            throw ServiceError(
                .usage, "\(path) is a raw disk: only qcow2 images have bitmaps", advice: "leave --bitmap out")
        }
        return image
    }
}
