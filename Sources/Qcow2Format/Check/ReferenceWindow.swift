// SPDX-License-Identifier: GPL-2.0-or-later

/// References to the clusters of a part of the file.
///
/// A byte for each cluster counts up to 254; the few clusters with more are kept aside. Two bits beside it say whether the
/// stored refcount is 1, and whether metadata is there.
struct ReferenceWindow {
    /// Clusters in a window at most: with 10 bits for each, 40 MiB.
    static let maximumCount: UInt64 = 32 << 20
    /// Counts that are kept aside at most, before the window is tried again at half its size.
    private static let maximumExceptions = 128 << 10
    /// Smallest window: it can't have too many exceptions.
    static let minimumCount: UInt64 = 64 << 10
    private static let exception = UInt8.max

    private(set) var first: UInt64 = 0
    private(set) var count = 0
    var counts: [UInt8]
    /// Whether a cluster's refcount on the disk is exactly 1.
    var ones: [UInt64]
    var metadata: [UInt64]
    private var exceptions: [Int: UInt64] = [:]

    /// - Parameter capacity: a multiple of 64.
    init(capacity: Int) {
        counts = [UInt8](repeating: 0, count: capacity)
        ones = [UInt64](repeating: 0, count: capacity / 64)
        metadata = [UInt64](repeating: 0, count: capacity / 64)
    }

    var clusters: Range<UInt64> { first..<first + UInt64(count) }

    /// Forgets everything and moves on.
    mutating func reset(to clusters: Range<UInt64>) {
        precondition(clusters.count <= counts.count)
        first = clusters.lowerBound
        count = clusters.count
        for index in counts.indices { counts[index] = 0 }
        for index in ones.indices {
            ones[index] = 0
            metadata[index] = 0
        }
        exceptions.removeAll()
    }

    /// Whether there are more exceptions than memory is meant for.
    var isOverfull: Bool { exceptions.count > Self.maximumExceptions && UInt64(count) > Self.minimumCount }

    @inline(__always)
    func isOne(_ index: Int) -> Bool { ones[index >> 6] >> UInt64(index & 63) & 1 != 0 }

    @inline(__always)
    func isMetadata(_ index: Int) -> Bool { metadata[index >> 6] >> UInt64(index & 63) & 1 != 0 }

    /// - Returns: whether it was marked already.
    mutating func markMetadata(_ index: Int) -> Bool {
        defer { metadata[index >> 6] |= 1 << UInt64(index & 63) }
        return isMetadata(index)
    }

    mutating func setOne(_ index: Int) { ones[index >> 6] |= 1 << UInt64(index & 63) }

    mutating func add(_ references: UInt64, at index: Int) {
        let old = counts[index]
        if old != Self.exception {
            let sum = UInt64(old).addingReportingOverflow(references)
            if !sum.overflow, sum.partialValue < UInt64(Self.exception) {
                counts[index] = UInt8(sum.partialValue)
                return
            }
        }
        // Past the limit, only that there are too many matters.
        if isOverfull {
            counts[index] = Self.exception
            return
        }
        let sum = self[index].addingReportingOverflow(references)
        exceptions[index] = sum.overflow ? .max : sum.partialValue
        counts[index] = Self.exception
    }

    /// Number of references.
    subscript(index: Int) -> UInt64 {
        let small = counts[index]
        return small == Self.exception ? exceptions[index] ?? UInt64(small) : UInt64(small)
    }

    /// The part of a range of clusters that lies in the window, as indices.
    func indices(of clusters: Range<UInt64>) -> Range<Int> {
        let part = clusters.clamped(to: self.clusters)
        return part.isEmpty ? 0..<0 : Int(part.lowerBound - first)..<Int(part.upperBound - first)
    }
}
