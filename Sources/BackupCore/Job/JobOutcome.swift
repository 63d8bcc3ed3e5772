// SPDX-License-Identifier: GPL-2.0-or-later

/// How a job ended, as far as what it leaves behind depends on it.
enum JobOutcome: Sendable {
    case success
    /// It failed or was cancelled, and something may have been copied.
    case failure
    /// It was cancelled before its point in time: nothing was copied.
    case neverStarted
}
