// SPDX-License-Identifier: GPL-2.0-or-later

import CZstd

/// Reads zstd frames until the cluster is full.
///
/// Writers make one frame for a cluster, but readers accept several, also skippable ones. Each frame is decoded in one
/// call straight into the cluster. The library keeps no window of its own then, so the window that a frame's header
/// claims costs no memory.
final class ZstdDecoder: ClusterDecoder {
    private let context: OpaquePointer

    /// - Throws: `outOfMemory`.
    init() throws(CompressionError) {
        guard let context = ZSTD_createDCtx() else { throw .outOfMemory(type: .zstd) }
        self.context = context
    }

    deinit {
        ZSTD_freeDCtx(context)
    }

    func decode(
        _ stored: UnsafeRawBufferPointer, into cluster: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) {
        var input = stored
        var produced = 0
        while produced < cluster.count {
            guard Self.startsFrame(input) else {
                // After a whole frame this is the next cluster's data, or the end of the file.
                guard produced == 0 else {
                    throw .inflatesTooShort(length: produced, clusterLength: cluster.count)
                }
                throw input.count < 4
                    ? .truncated(type: .zstd, storedLength: stored.count)
                    : .invalidData(type: .zstd, storedLength: stored.count)
            }
            let frameLength = ZSTD_findFrameCompressedSize(input.baseAddress, input.count)
            guard ZSTD_isError(frameLength) == 0 else {
                throw Self.error(frameLength, stored: stored, cluster: cluster)
            }
            let room = UnsafeMutableRawBufferPointer(rebasing: cluster[produced...])
            let length = ZSTD_decompressDCtx(context, room.baseAddress, room.count, input.baseAddress, frameLength)
            guard ZSTD_isError(length) == 0 else { throw Self.error(length, stored: stored, cluster: cluster) }
            produced += length
            input = UnsafeRawBufferPointer(rebasing: input[frameLength...])
        }
    }

    /// Whether the bytes start with the magic number of a frame or of a skippable frame.
    ///
    /// Formats older than zstd 1.0, which some builds of the library read too, stay out.
    private static func startsFrame(_ input: UnsafeRawBufferPointer) -> Bool {
        guard input.count >= 4 else { return false }
        let magic = UInt32(littleEndian: input.loadUnaligned(as: UInt32.self))
        return magic == UInt32(ZSTD_MAGICNUMBER) || magic & 0xffff_fff0 == UInt32(ZSTD_MAGIC_SKIPPABLE_START)
    }

    private static func error(
        _ code: Int, stored: UnsafeRawBufferPointer, cluster: UnsafeMutableRawBufferPointer
    ) -> CompressionError {
        switch ZSTD_getErrorCode(code) {
        case ZSTD_error_dstSize_tooSmall: .inflatesTooLong(clusterLength: cluster.count)
        case ZSTD_error_srcSize_wrong: .truncated(type: .zstd, storedLength: stored.count)
        case ZSTD_error_memory_allocation: .outOfMemory(type: .zstd)
        default: .invalidData(type: .zstd, storedLength: stored.count)
        }
    }
}
