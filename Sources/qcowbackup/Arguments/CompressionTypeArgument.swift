// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import Qcow2Format

/// The value of `--compression-type`, and of `-o compression_type`.
enum CompressionTypeArgument: String, CaseIterable, ExpressibleByArgument {
    case zlib
    case zstd

    var type: CompressionType {
        switch self {
        case .zlib: .zlib
        case .zstd: .zstd
        }
    }
}
