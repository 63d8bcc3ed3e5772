// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Someone who must act before a disk changes.
protocol WriteHook: AnyObject, Sendable {
    /// Saves what `range`, in bytes of the disk and not empty, holds now. The disk changes once this returns.
    ///
    /// - Throws: what the guest's request is then to fail with.
    func beforeChange(of range: Range<UInt64>) async throws(BlockError)
}

/// Someone who must start nothing new on a disk while it is drained. Drains are paired, and begin and end at once.
protocol DrainListener: AnyObject, Sendable {
    func beginDrain()
    /// Waits for what was started before the drain.
    func waitUntilStill() async
    func endDrain()
}

/// What a drain of a job's target means for the job: it stands still, and so do the guests of its source, whose writes
/// have to be copied to the target first.
final class TargetDrain: DrainListener {
    private let lifecycle: JobLifecycle
    private let source: GuestDevice?

    init(_ lifecycle: JobLifecycle, source: GuestDevice?) {
        self.lifecycle = lifecycle
        self.source = source
    }

    func beginDrain() {
        lifecycle.beginDrain()
        source?.gate.hold()
    }

    func waitUntilStill() async {
        await lifecycle.waitUntilStill()
        await source?.gate.waitUntilQuiet()
    }

    func endDrain() {
        source?.endDrain()
        lifecycle.endDrain()
    }
}
