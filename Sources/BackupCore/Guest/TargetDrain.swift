// SPDX-License-Identifier: GPL-2.0-or-later

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
