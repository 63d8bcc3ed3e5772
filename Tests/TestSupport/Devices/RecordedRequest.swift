// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// A call that changed what a disk holds, or that made it durable.
package enum RecordedRequest: Sendable, Equatable {
    /// A plain or compressed write, or a copied range.
    case write(offset: UInt64, bytes: [UInt8])
    case zeroes(Range<UInt64>)
    case resize(length: UInt64)
    case flush

    package var isFlush: Bool { self == .flush }

    /// Does to `content` what the call did to the disk. Content grows where a write lies past its end.
    package func apply(to content: inout SparseBytes) {
        switch self {
        case .write(let offset, let bytes):
            let end = offset + UInt64(bytes.count)
            if end > content.length { content.resize(to: end) }
            content.write(bytes.span.bytes, at: offset)
        case .zeroes(let range):
            if range.upperBound > content.length { content.resize(to: range.upperBound) }
            content.zero(range)
        case .resize(let length): content.resize(to: length)
        case .flush: break
        }
    }
}

/// What a disk went through, in the order in which the calls ended, and what it held before.
package struct Recording: Sendable {
    package let initial: SparseBytes
    package internal(set) var requests: [RecordedRequest] = []

    init(initial: SparseBytes) {
        self.initial = initial
    }

    /// Content after the first `count` requests: what a power cut leaves on a disk that never reorders.
    package func content(afterPrefix count: Int) -> SparseBytes {
        var content = initial
        for request in requests.prefix(count) { request.apply(to: &content) }
        return content
    }

    /// What a power cut after the first `count` requests leaves on a disk that writes its cache from the end: everything up
    /// to the last flush, and of what came after it the last request alone.
    package func contentKeepingLast(ofPrefix count: Int) -> SparseBytes {
        let prefix = requests.prefix(count)
        let durable = prefix.lastIndex(where: \.isFlush) ?? -1
        var content = initial
        for (index, request) in prefix.enumerated() {
            var isResize = false
            if case .resize = request { isResize = true }
            if isResize || index <= durable || index == count - 1 { request.apply(to: &content) }
        }
        return content
    }

    /// What a power cut after the first `count` requests can leave on a disk with a write cache: everything up to the
    /// last flush, and of what came after it a random part. A length always changes at once.
    package func content(
        afterPrefix count: Int, losingSome random: inout some RandomNumberGenerator
    ) -> SparseBytes {
        let prefix = requests.prefix(count)
        let durable = prefix.lastIndex(where: \.isFlush) ?? -1
        var content = initial
        for (index, request) in prefix.enumerated() {
            if case .resize = request {
                request.apply(to: &content)
            } else if index <= durable || Bool.random(using: &random) {
                request.apply(to: &content)
            }
        }
        return content
    }
}
