// SPDX-License-Identifier: GPL-2.0-or-later

/// A compression library's state, reused for cluster after cluster.
protocol ClusterEncoder: AnyObject {
    /// Compresses all of `input`, which is not empty, into one stream.
    ///
    /// - Returns: the stream's length in bytes, `nil` where `output` is too small for it.
    func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int?
}
