// SPDX-License-Identifier: GPL-2.0-or-later

/// A dirty bitmap that users know by name: its bits, and what may be done with them now.
///
/// A job that works by the bitmap freezes it: from then on a successor records the writes, and the bits stay as they
/// are. At the end the successor either takes the bitmap's place (`abdicate`) or is added to it (`reclaim`).
package struct NamedBitmap: Sendable {
    /// Longest name in bytes of UTF-8: what a qcow2 image can store.
    package static let maximumNameLength = 1023

    package let name: String
    /// Whether it is to outlive the process, stored in the disk's image.
    package let isPersistent: Bool
    /// Whether it may not be changed, as its disk may not. For the disk's owner to set.
    package var isReadOnly: Bool
    /// Whether it missed writes, so that its bits mean nothing.
    package let isInconsistent: Bool
    /// Whether writes are recorded: by the successor where there is one.
    package private(set) var isRecording: Bool
    package private(set) var bits: DirtyBitmap
    /// Records while the bitmap is frozen.
    package private(set) var successor: DirtyBitmap?
    /// Number of those that rely on the bits without freezing them.
    private var users = 0

    /// - Parameters:
    ///   - bits: what is dirty now.
    ///   - isInconsistent: it missed writes. It then records no more.
    /// - Throws: `DirtyBitmapError.emptyName`, `.nameTooLong`.
    package init(
        name: String, bits: DirtyBitmap, isRecording: Bool = true, isPersistent: Bool = false,
        isReadOnly: Bool = false, isInconsistent: Bool = false
    ) throws(DirtyBitmapError) {
        if name.isEmpty { throw .emptyName }
        if name.utf8.count > Self.maximumNameLength { throw .nameTooLong(name.utf8.count) }
        self.name = name
        self.bits = bits
        self.isRecording = isRecording && !isInconsistent
        self.isPersistent = isPersistent
        self.isReadOnly = isReadOnly
        self.isInconsistent = isInconsistent
    }

    /// Whether something relies on it, so that users may not change it.
    package var isBusy: Bool {
        successor != nil || users > 0
    }

    // MARK: Checks

    /// Checks that the bits may be relied on.
    ///
    /// - Throws: `DirtyBitmapError.busy`, `.inconsistent`.
    package func checkUsable() throws(DirtyBitmapError) {
        if isBusy { throw .busy(name) }
        if isInconsistent { throw .inconsistent(name) }
    }

    /// - Throws: `DirtyBitmapError.readOnly`.
    package func checkWritable() throws(DirtyBitmapError) {
        if isReadOnly { throw .readOnly(name) }
    }

    /// Checks that it may be removed: the one thing that an inconsistent bitmap is good for.
    ///
    /// - Throws: `DirtyBitmapError.busy`, `.readOnly`.
    package func checkRemovable() throws(DirtyBitmapError) {
        if isBusy { throw .busy(name) }
        try checkWritable()
    }

    // MARK: Changes

    /// Takes note of a write to the disk.
    package mutating func record(_ range: Range<UInt64>) {
        guard isRecording else { return }
        if successor == nil { bits.set(range) } else { successor?.set(range) }
    }

    /// Makes everything clean.
    ///
    /// - Throws: `DirtyBitmapError.busy`, `.inconsistent`, `.readOnly`.
    package mutating func clear() throws(DirtyBitmapError) {
        try checkUsable()
        try checkWritable()
        bits.resetAll()
    }

    /// Makes dirty what is dirty in any of the others, of whatever granularity. Changes nothing where it fails.
    ///
    /// - Throws: `DirtyBitmapError.busy`, `.inconsistent`, `.readOnly`, `.lengthsDiffer`.
    package mutating func merge(_ others: [DirtyBitmap]) throws(DirtyBitmapError) {
        try checkUsable()
        try checkWritable()
        var merged = bits
        for other in others { try merged.merge(other) }
        bits = merged
    }

    /// Makes writes be recorded, or no longer.
    ///
    /// - Throws: `DirtyBitmapError.busy`, `.inconsistent`.
    package mutating func setRecording(_ isRecording: Bool) throws(DirtyBitmapError) {
        try checkUsable()
        self.isRecording = isRecording
    }

    // MARK: Users

    /// Makes it busy until `endUse`, for someone who relies on its bits as they are. Uses nest.
    ///
    /// - Throws: `DirtyBitmapError.inconsistent`, `.busy` while it is frozen.
    package mutating func beginUse() throws(DirtyBitmapError) {
        if users == 0 { try checkUsable() }
        users += 1
    }

    package mutating func endUse() {
        precondition(users > 0, "no use to end")
        users -= 1
    }

    /// Freezes the bits. From now on writes are recorded apart from them, if they were recorded before.
    ///
    /// - Throws: `DirtyBitmapError.busy`, `.inconsistent`.
    package mutating func createSuccessor() throws(DirtyBitmapError) {
        try checkUsable()
        successor = bits.makeEmpty()
    }

    /// Adds what the successor recorded to the bits and goes on being frozen: as if it had been frozen now.
    package mutating func refreeze() {
        reclaim()
        successor = bits.makeEmpty()
    }

    /// Ends the freeze with what the successor recorded in place of the bits.
    ///
    /// - Parameter owed: what stays dirty beside it; of the same length.
    package mutating func abdicate(keeping owed: DirtyBitmap? = nil) {
        guard var bits = successor.take() else { preconditionFailure("bitmap '\(name)' is not frozen") }
        if let owed { bits.formUnion(owed) }
        self.bits = bits
    }

    /// Ends the freeze with the bits and what the successor recorded.
    package mutating func reclaim() {
        guard let successor = successor.take() else { preconditionFailure("bitmap '\(name)' is not frozen") }
        bits.formUnion(successor)
    }

    // MARK: Transactions

    /// Takes back a change of the bits or of the recording.
    ///
    /// A job that froze the bitmap in the meantime goes by bits that were never to be: then all of the earlier ones are
    /// dirty for whoever comes next, too.
    mutating func takeBack(to earlier: NamedBitmap) {
        bits = earlier.bits
        successor?.formUnion(earlier.bits)
        isRecording = earlier.isRecording
    }
}
