// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// A job stands still while a disk that it works on is drained, whatever the user wants. Drains nest.
extension JobLifecycle: DrainListener {
    func beginDrain() {
        change { status in
            status.drains += 1
            return status.wakeSleepers()
        }
    }

    func waitUntilStill() async {
        await withCheckedContinuation { continuation in
            change { status in
                // Who does not stand still for a drain that is over never will.
                if status.isStill || status.drains == 0 { return [continuation] }
                status.stillWaiters.append(continuation)
                return []
            }
        }
    }

    func endDrain() {
        change { status in
            precondition(status.drains > 0, "no drain to end")
            status.drains -= 1
            guard status.drains == 0 else { return [] }
            defer { status.stillWaiters = [] }
            return status.stillWaiters + (status.shouldPause ? [] : status.wakeAll())
        }
    }
}
