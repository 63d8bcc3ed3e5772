// SPDX-License-Identifier: GPL-2.0-or-later

/// How an image's compressed clusters are encoded.
///
/// Spec: “Header”, byte 104, compression_type.
public enum CompressionType: UInt8, Sendable, CaseIterable {
    /// Raw deflate with a window of at most 4 KiB.
    case zlib = 0
    case zstd = 1
}
