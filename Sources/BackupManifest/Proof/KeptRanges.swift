// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Contents of ranges that were proven and are not yet read to their end, so that the rest comes from what was proven and
/// not from another read.
final class KeptRanges: Sendable {
    /// How many there are at most: more than workers that read at once.
    private static let capacity = 16

    /// Arrays hold only what can be copied.
    private final class Box: @unchecked Sendable {
        // Unchecked: a box is in the list, or in the hands of one caller.
        var content: AlignedBuffer?

        init(_ content: consuming AlignedBuffer) {
            self.content = consume content
        }
    }

    /// The oldest first.
    private let kept = Locked<[(range: UInt64, box: Box)]>([])

    /// A range's content for exclusive use; `nil` where it is not kept, or in use.
    func take(_ range: UInt64) -> AlignedBuffer? {
        let box = kept.withLock { kept in
            kept.firstIndex { $0.range == range }.map { kept.remove(at: $0).box }
        }
        return box?.content.take()
    }

    func put(_ range: UInt64, _ content: consuming AlignedBuffer) {
        let box = Box(content)
        kept.withLock { kept in
            if kept.count == Self.capacity { kept.removeFirst() }
            kept.append((range, box))
        }
    }
}
