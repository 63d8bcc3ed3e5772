// SPDX-License-Identifier: GPL-2.0-or-later

/// Something that is wrong with the structure of an image.
package struct CheckProblem: Sendable, Equatable {
    package enum Severity: String, Sendable {
        /// What the guest reads is wrong, or may become so with the next write.
        case corruption
        /// Space that nothing uses. Harmless.
        case leak
        /// A part of the image that can't be checked, so that nobody knows what else is wrong.
        case unchecked
        /// What other programs put up with.
        case warning
    }

    /// Stable names that scripts may rely on.
    package enum Kind: String, Sendable, CaseIterable {
        /// The header, or one of its extensions, breaks a rule.
        case header
        /// The image is marked as not closed, or as corrupt.
        case marked
        /// A file that belongs to the image can't be used.
        case otherFile = "other-file"
        /// A table or a cluster can't be read.
        case unreadable
        /// An entry of an L1 table has reserved bits set.
        case l1ReservedBits = "l1-reserved-bits"
        /// An L2 table is not aligned to a cluster.
        case l2TableUnaligned = "l2-table-unaligned"
        /// A structure lies behind the end of the file.
        case tablePastEnd = "table-past-end"
        /// An entry of an L2 table has reserved bits set.
        case l2ReservedBits = "l2-reserved-bits"
        /// An entry of a version 2 image has the zero flag, which version 3 brought.
        case zeroFlag = "zero-flag"
        case clusterUnaligned = "cluster-unaligned"
        /// A cluster of an external data file does not lie at the guest's offset.
        case clusterMisplaced = "cluster-misplaced"
        /// A data cluster, plain or compressed, lies behind the end of the file.
        case clusterPastEnd = "cluster-past-end"
        /// A compressed cluster that the image can't have, or has in another way.
        case compressed
        /// A subcluster bitmap contradicts itself or its entry.
        case subclusters
        /// Two structures, or a structure and data, share a cluster.
        case overlap
        /// An entry's copied flag contradicts the refcount.
        case copiedFlag = "copied-flag"
        /// A cluster in use has a refcount below the number of references to it.
        case refcountTooLow = "refcount-too-low"
        /// A cluster has more references than a refcount of the image's width can count.
        case refcountOverflow = "refcount-overflow"
        /// An entry of the refcount table, or a refcount block, breaks a rule.
        case refcountStructure = "refcount-structure"
        case snapshot
        case bitmap
        /// A cluster has a refcount above the number of references to it.
        case leak
    }

    package let kind: Kind
    package let severity: Severity
    /// What it is about: a table, a cluster.
    package let subject: String
    /// First byte of it in the image file; `nil` where it has no place there.
    package let hostOffset: UInt64?
    /// First byte of the disk that it stands for; `nil` where it stands for none.
    package let guestOffset: UInt64?
    /// The end of the sentence that begins with the subject.
    package let reason: String
    /// How many problems of the image this stands for.
    package let count: UInt64
}

extension CheckProblem: CustomStringConvertible {
    package var description: String {
        let places = [hostOffset.map { "offset \($0)" }, guestOffset.map { "guest offset \($0)" }].compactMap { $0 }
        let place = places.isEmpty ? "" : " at \(places.joined(separator: ", "))"
        return "\(subject)\(place): \(reason)"
    }
}
