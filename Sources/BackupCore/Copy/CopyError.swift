// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO
public import SystemPackage

/// A request of the copying that failed, and on which side: error policies differ by side.
public struct CopyError: Error, Sendable {
    public enum Side: String, Sendable {
        case source
        case target
    }

    public enum Operation: String, Sendable {
        case read
        case write
        case writeCompressed = "compressed write"
        case writeZeroes = "zero write"
    }

    public let operation: Operation
    /// The failed request in bytes of the disk.
    public let range: Range<UInt64>
    public let underlying: BlockError

    public init(operation: Operation, range: Range<UInt64>, underlying: BlockError) {
        self.operation = operation
        self.range = range
        self.underlying = underlying
    }

    /// Reads go to the source, everything else to the target.
    public var side: Side {
        operation == .read ? .source : .target
    }

    public var errno: Errno {
        underlying.errno
    }
}

extension CopyError: CustomStringConvertible {
    public var description: String {
        "\(side.rawValue): \(operation.rawValue) of \(range.upperBound - range.lowerBound) bytes "
            + "at offset \(range.lowerBound) failed: \(underlying)"
    }
}
