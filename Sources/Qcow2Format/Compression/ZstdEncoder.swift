// SPDX-License-Identifier: GPL-2.0-or-later

import CZstd

/// One zstd frame for each cluster, with its content size and without a checksum.
final class ZstdEncoder: ClusterEncoder {
    private let context: OpaquePointer

    /// - Parameters:
    ///   - level: one of zstd's levels.
    ///   - clusterLength: in bytes, a power of two.
    /// - Throws: `outOfMemory`.
    init(level: Int, clusterLength: Int) throws(CompressionSettingsError) {
        guard let context = ZSTD_createCCtx() else { throw .outOfMemory(type: .zstd) }
        self.context = context
        // Safe to narrow: the level was checked to be one of the table's.
        let common: [(ZSTD_cParameter, Int32)] = [
            (ZSTD_c_compressionLevel, Int32(level)), (ZSTD_c_contentSizeFlag, 1), (ZSTD_c_checksumFlag, 0),
        ]
        for (parameter, value) in common + ZstdTuning.parameters(level: level, clusterLength: clusterLength) {
            let result = ZSTD_CCtx_setParameter(context, parameter, value)
            precondition(ZSTD_isError(result) == 0, "zstd refused parameter \(parameter.rawValue) = \(value)")
        }
    }

    deinit {
        ZSTD_freeCCtx(context)
    }

    func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
        // Compressing in one call tells the library the length, by which it chooses its tables.
        let length = ZSTD_compress2(context, output.baseAddress, output.count, input.baseAddress, input.count)
        return ZSTD_isError(length) == 0 ? length : nil
    }
}
