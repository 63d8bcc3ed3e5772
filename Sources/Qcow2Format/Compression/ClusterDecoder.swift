// SPDX-License-Identifier: GPL-2.0-or-later

/// A decompression library's state, reused for cluster after cluster.
protocol ClusterDecoder: AnyObject {
    /// Fills all of `cluster` from the start of `stored`; both hold at least one byte.
    func decode(
        _ stored: UnsafeRawBufferPointer, into cluster: UnsafeMutableRawBufferPointer
    ) throws(CompressionError)
}
