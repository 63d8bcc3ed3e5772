// SPDX-License-Identifier: GPL-2.0-or-later

/// A digest of bytes that come in pieces.
struct DigestStream: ~Copyable {
    private enum State: ~Copyable {
        case xxh3(XXH3Stream)
        case sha256(SHA256Stream)
    }

    private let state: State

    init(_ algorithm: DigestAlgorithm) {
        switch algorithm {
        case .xxh3: state = .xxh3(XXH3Stream())
        case .sha256: state = .sha256(SHA256Stream())
        }
    }

    mutating func add(_ bytes: RawSpan) {
        switch state {
        case .xxh3(let stream): stream.add(bytes)
        case .sha256(let stream): stream.add(bytes)
        }
    }

    /// The digest of all that was added.
    func digest() -> Digest {
        switch state {
        case .xxh3(let stream): stream.digest()
        case .sha256(let stream): stream.digest()
        }
    }
}
