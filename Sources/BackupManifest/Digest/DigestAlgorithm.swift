// SPDX-License-Identifier: GPL-2.0-or-later

import CXXHash

/// How content is digested.
public enum DigestAlgorithm: String, Sendable, CaseIterable {
    /// XXH3 of 128 bits, without a seed. Finds every accident, at the speed of memory; whoever wants to can forge it.
    case xxh3 = "xxh3-128"
    /// SHA-256, for those who must rule out that as well.
    case sha256 = "sha-256"

    /// Bytes of a digest.
    public var length: Int {
        switch self {
        case .xxh3: 16
        case .sha256: 32
        }
    }

    /// Digests bytes that are at hand at once.
    public func digest(of bytes: RawSpan) -> Digest {
        switch self {
        case .xxh3: Digest(bytes.withUnsafeBytes { cxxhash_xxh3_128($0.baseAddress, $0.count) })
        case .sha256: SHA256Stream.digest(of: bytes)
        }
    }
}
