// SPDX-License-Identifier: GPL-2.0-or-later

import CXXHash

/// How content is digested.
package enum DigestAlgorithm: String, Sendable, CaseIterable {
    /// XXH3 of 128 bits, without a seed. Finds every accident, at the speed of memory; whoever wants to can forge it.
    case xxh3 = "xxh3-128"
    /// SHA-256, for those who must rule out that as well.
    case sha256 = "sha-256"

    /// Bytes of a digest.
    package var length: Int {
        switch self {
        case .xxh3: 16
        case .sha256: 32
        }
    }

    /// Digests bytes that are at hand at once.
    package func digest(of bytes: RawSpan) -> Digest {
        switch self {
        case .xxh3: Digest(bytes.withUnsafeBytes { cxxhash_xxh3_128($0.baseAddress, $0.count) })
        case .sha256: SHA256Stream.digest(of: bytes)
        }
    }
}

/// An XXH3 digest (128 bits, no seed) of bytes that come in pieces.
struct XXH3Stream: ~Copyable {
    private let state: OpaquePointer

    init() {
        guard let state = cxxhash_stream_create() else { fatalError("out of memory") }
        self.state = state
    }

    deinit {
        cxxhash_stream_free(state)
    }

    func add(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { cxxhash_stream_add(state, $0.baseAddress, $0.count) }
    }

    /// The digest of all that was added. More may be added afterwards.
    func digest() -> Digest {
        Digest(cxxhash_stream_digest(state))
    }
}
