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

/// Where the library's own choice for a level is not the best for clusters of the usual sizes.
///
/// zstd chooses its tables by ranges of input length, and those between 16 and 128 KiB share one choice. Measured on a
/// file system with libzstd 1.5.4, clusters of 64 KiB: tables that stay in the processor's first cache and shorter
/// matches make level 1 no slower and 1% smaller, and level 3 a seventh faster and no larger. Where no gain was
/// measured, nothing is changed.
enum ZstdTuning {
    /// Parameters to set besides the level.
    ///
    /// - Parameter clusterLength: in bytes, a power of two.
    static func parameters(level: Int, clusterLength: Int) -> [(ZSTD_cParameter, Int32)] {
        let clusterBits = Int32(clusterLength.trailingZeroBitCount)
        switch (level, clusterBits) {
        case (1, 15...17):
            return [(ZSTD_c_strategy, Int32(ZSTD_fast.rawValue)), (ZSTD_c_hashLog, 12), (ZSTD_c_minMatch, 5)]
        case (3, 16...17):
            return [
                (ZSTD_c_strategy, Int32(ZSTD_dfast.rawValue)), (ZSTD_c_hashLog, clusterBits - 3),
                (ZSTD_c_chainLog, clusterBits - 4), (ZSTD_c_minMatch, 4),
            ]
        default:
            return []
        }
    }
}
