// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// A request of the copying that failed, and on which side: error policies differ by side.
package struct CopyError: Error, Sendable {
    package enum Side: String, Sendable {
        case source
        case target
    }

    package enum Operation: String, Sendable {
        case read
        case write
        case writeCompressed = "compressed write"
        case writeZeroes = "zero write"
    }

    package let operation: Operation
    /// The failed request in bytes of the disk.
    package let range: Range<UInt64>
    package let underlying: BlockError

    package init(operation: Operation, range: Range<UInt64>, underlying: BlockError) {
        self.operation = operation
        self.range = range
        self.underlying = underlying
    }

    /// Reads go to the source, everything else to the target.
    package var side: Side {
        operation == .read ? .source : .target
    }

    package var errno: Errno {
        underlying.errno
    }
}

extension CopyError: CustomStringConvertible {
    package var description: String {
        "\(side.rawValue): \(operation.rawValue) of \(range.upperBound - range.lowerBound) bytes "
            + "at offset \(range.lowerBound) failed: \(underlying)"
    }
}
