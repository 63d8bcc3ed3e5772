// SPDX-License-Identifier: GPL-2.0-or-later

import CXXHash

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
