// SPDX-License-Identifier: GPL-2.0-or-later

import CGnuTLS

/// A SHA-256 digest of bytes that come in pieces, computed by GnuTLS.
struct SHA256Stream: ~Copyable {
    private static let algorithm = GNUTLS_DIG_SHA256
    private static let length = 32

    private let state: gnutls_hash_hd_t

    init() {
        var state: gnutls_hash_hd_t?
        Self.check(gnutls_hash_init(&state, Self.algorithm))
        self.state = state!
    }

    deinit {
        gnutls_hash_deinit(state, nil)
    }

    func add(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { buffer in
            // GnuTLS takes no null pointer, which is what an empty span may have.
            guard let start = buffer.baseAddress, !buffer.isEmpty else { return }
            Self.check(gnutls_hash(state, start, buffer.count))
        }
    }

    /// The digest of all that was added. More may be added afterwards.
    func digest() -> Digest {
        guard let copy = gnutls_hash_copy(state) else { fatalError("GnuTLS can't copy a hash: out of memory") }
        return Self.filled { gnutls_hash_deinit(copy, $0) }
    }

    /// The digest of bytes that are at hand at once.
    static func digest(of bytes: RawSpan) -> Digest {
        bytes.withUnsafeBytes { buffer in
            filled { check(gnutls_hash_fast(algorithm, buffer.baseAddress, buffer.count, $0)) }
        }
    }

    /// The digest that `fill` writes: 32 bytes.
    private static func filled(by fill: (UnsafeMutableRawPointer) -> Void) -> Digest {
        withUnsafeTemporaryAllocation(byteCount: length, alignment: 8) { buffer in
            fill(buffer.baseAddress!)
            return Digest(bytes: RawSpan(_unsafeBytes: UnsafeRawBufferPointer(buffer)))
        }
    }

    /// SHA-256 itself can't fail: what is left is no memory, and a library that refuses to work (its self-tests failed).
    private static func check(_ code: Int32) {
        guard code >= 0 else { fatalError("GnuTLS can't hash: \(String(cString: gnutls_strerror(code)))") }
    }
}
