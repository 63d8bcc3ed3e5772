// SPDX-License-Identifier: GPL-2.0-or-later

/// What a comparison found.
package struct CompareReport: Sendable, Equatable {
    /// The first difference.
    package enum Difference: Sendable, Equatable {
        /// The byte at this offset.
        case content(UInt64)
        /// From this offset on, one disk is stored otherwise than the other.
        case allocation(UInt64)
        /// The disks have different lengths, which a strict comparison takes for a difference.
        case length
    }

    /// `nil` where the disks are the same.
    package var difference: Difference?
    /// Bytes of the first disk.
    package var firstLength: UInt64
    /// Bytes of the second disk.
    package var secondLength: UInt64
    /// Whether all that both disks have was looked at: then it is known whether the lengths matter.
    package var hasComparedCommonPart: Bool

    package init(
        difference: Difference?, firstLength: UInt64, secondLength: UInt64, hasComparedCommonPart: Bool
    ) {
        self.difference = difference
        self.firstLength = firstLength
        self.secondLength = secondLength
        self.hasComparedCommonPart = hasComparedCommonPart
    }
}

/// Why a comparison came to no result.
package struct CompareFailure: Error, Sendable {
    package enum Stage: Sendable, Equatable {
        /// A disk could not be opened.
        case opening
        /// It could not be found out how a disk is stored.
        case mapping
        /// A disk could not be read.
        case reading
    }

    package let stage: Stage
    package let error: ServiceError

    package init(_ stage: Stage, _ error: ServiceError) {
        self.stage = stage
        self.error = error
    }
}
