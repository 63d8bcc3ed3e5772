// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// Progress on standard error, drawn by one thread.
///
/// Drawing never waits: where the reader is slow, a line is left out.
struct ProgressDisplay {
    enum Mode {
        case none
        case bar
        case json
    }

    private let mode: Mode
    private let console: Console
    private var rate = TransferRate()
    private var lastDrawn: Duration?
    /// Columns taken by the bar that is on the screen.
    private var drawnColumns = 0

    init(mode: Mode, console: Console) {
        self.mode = mode
        self.console = console
    }

    /// Time between two drawings; `nil` where nothing is drawn.
    var interval: Duration? {
        switch mode {
        case .none: nil
        case .bar: .milliseconds(200)
        case .json: .seconds(1)
        }
    }

    /// Draws, unless it did less than `interval` ago.
    ///
    /// - Parameter time: since the start of the run.
    mutating func update(_ progress: BackupProgress, at time: Duration) {
        guard let interval else { return }
        if let lastDrawn, time - lastDrawn < interval { return }
        lastDrawn = time
        rate.add(offset: progress.offset, at: time)
        draw(ProgressReport(progress, bytesPerSecond: rate.bytesPerSecond))
    }

    /// Prints one line now, whatever the mode.
    ///
    /// - Parameter asJSON: the form to use where the mode is `none`.
    mutating func printLine(_ progress: BackupProgress, at time: Duration, asJSON: Bool) {
        rate.add(offset: progress.offset, at: time)
        let report = ProgressReport(progress, bytesPerSecond: rate.bytesPerSecond)
        let line = mode == .json || (mode == .none && asJSON) ? JSONLine.progress(report) : ProgressLine(report).text
        _ = offer(line: line)
    }

    /// Prints a line in place of the bar, which the next drawing brings back.
    ///
    /// - Returns: whether the reader took it.
    mutating func offer(line: String) -> Bool {
        guard console.offerError(erasing() + line + "\n") else { return false }
        drawnColumns = 0
        lastDrawn = nil
        return true
    }

    /// Takes the bar from the screen. A run that succeeded leaves a last line in JSON.
    ///
    /// - Parameter completed: the last progress of a run that succeeded.
    mutating func finish(_ completed: BackupProgress?, at time: Duration) {
        // The last rate is that of the whole run.
        let report = completed.map { completed in
            let rate = TransferRate.rate(bytes: completed.offset, seconds: time / .seconds(1))
            return ProgressReport.complete(completed, bytesPerSecond: rate)
        }
        switch mode {
        case .none: break
        case .bar:
            if let report, !console.isTerminal {
                // Nothing erases what a file holds: there the bar stays, full.
                draw(report)
            }
            if drawnColumns > 0 {
                console.writeError(console.isTerminal ? erasing() : "\n")
            }
            drawnColumns = 0
        case .json:
            if let report {
                console.writeError(JSONLine.progress(report) + "\n")
            }
        }
    }

    private mutating func draw(_ report: ProgressReport) {
        switch mode {
        case .none: break
        case .bar:
            let line = ProgressLine(report).text(columns: console.columns)
            // Spaces instead of an escape sequence: every terminal knows them.
            let padding = String(repeating: " ", count: max(0, drawnColumns - line.count))
            if console.offerError("\r" + line + padding) {
                drawnColumns = line.count
            }
        case .json:
            _ = console.offerError(JSONLine.progress(report) + "\n")
        }
    }

    /// What removes the bar and leaves the cursor at the line's start.
    private func erasing() -> String {
        if drawnColumns == 0 { return "" }
        return console.isTerminal ? "\r" + String(repeating: " ", count: drawnColumns) + "\r" : "\n"
    }
}
