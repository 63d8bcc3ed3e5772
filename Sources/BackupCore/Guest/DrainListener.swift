// SPDX-License-Identifier: GPL-2.0-or-later

/// Someone who must start nothing new on a disk while it is drained. Drains are paired, and begin and end at once.
protocol DrainListener: AnyObject, Sendable {
    func beginDrain()
    /// Waits for what was started before the drain.
    func waitUntilStill() async
    func endDrain()
}
