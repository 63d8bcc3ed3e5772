// SPDX-License-Identifier: GPL-2.0-or-later

import CXXHash
import Crypto

/// A digest of bytes that come in pieces.
struct DigestStream: ~Copyable {
    private let algorithm: DigestAlgorithm
    private let xxh3: OpaquePointer?
    private var sha256 = SHA256()

    init(_ algorithm: DigestAlgorithm) {
        self.algorithm = algorithm
        guard algorithm == .xxh3 else {
            xxh3 = nil
            return
        }
        guard let state = cxxhash_stream_create() else { fatalError("out of memory") }
        xxh3 = state
    }

    deinit {
        if let xxh3 { cxxhash_stream_free(xxh3) }
    }

    mutating func add(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { buffer in
            if let xxh3 {
                cxxhash_stream_add(xxh3, buffer.baseAddress, buffer.count)
            } else {
                sha256.update(bufferPointer: buffer)
            }
        }
    }

    /// The digest of all that was added.
    func digest() -> Digest {
        if let xxh3 { return Digest(cxxhash_stream_digest(xxh3)) }
        return Digest(sha256.finalize())
    }
}
