// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format
import Testing

/// A buffer with a tail that must keep its bytes.
struct CompressionGuardedBuffer: ~Copyable {
    private static let tail: UInt8 = 0xa5
    private static let tailLength = 64
    private var buffer: AlignedBuffer
    private let count: Int

    init(count: Int) {
        self.count = count
        buffer = AlignedBuffer(count: count + Self.tailLength)
        var tail = buffer.mutableSlice(count..<count + Self.tailLength)
        tail.withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: Self.tail) }
    }

    mutating func withBytes<Result, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer {
            let intact = buffer.bytes.withUnsafeBytes { $0[count...].allSatisfy { $0 == Self.tail } }
            #expect(intact, "bytes behind the buffer were overwritten")
        }
        var bytes = buffer.mutablePrefix(count)
        return try body(&bytes)
    }

    var content: [UInt8] {
        buffer.prefix(count).withUnsafeBytes { Array($0) }
    }
}

extension ClusterCompressor {
    /// Compresses into a buffer of `room` bytes, by default a cluster's length, and checks that nothing behind it changes.
    mutating func compress(_ cluster: [UInt8], room: Int? = nil) -> [UInt8]? {
        let room = room ?? cluster.count
        var guarded = CompressionGuardedBuffer(count: room)
        let length = guarded.withBytes { output in compress(cluster.span.bytes, into: &output) }
        return length.map { Array(guarded.content.prefix($0)) }
    }
}

extension ClusterDecompressor {
    /// Decompresses into a cluster of its own, and checks that nothing behind the cluster changes.
    mutating func decompress(_ stored: [UInt8]) throws(CompressionError) -> [UInt8] {
        var guarded = CompressionGuardedBuffer(count: clusterLength)
        try guarded.withBytes { cluster throws(CompressionError) in
            try decompress(stored.span.bytes, into: &cluster)
        }
        return guarded.content
    }
}
