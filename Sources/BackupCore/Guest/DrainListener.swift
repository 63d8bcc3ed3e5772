// SPDX-License-Identifier: GPL-2.0-or-later

/// Someone who must start nothing new on a disk while it is drained. Calls are paired, and return at once.
protocol DrainListener: AnyObject, Sendable {
    func beginDrain()
    func endDrain()
}
