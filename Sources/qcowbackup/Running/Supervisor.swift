// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import BlockIO

/// Watches over one run: the thread that calls `run` answers signals and shows progress while others do the work.
///
/// Everything is printed by that one thread, which never waits for a reader. So a reader that stands still holds up
/// neither the work nor the answer to a signal.
struct Supervisor {
    /// How the run ended.
    struct Outcome<Value: Sendable, Failure: Error>: Sendable {
        var result: Result<Value, Failure>
        /// The signal that asked it to end.
        var signal: Int32?
    }

    /// A signal this soon after the first belongs to it: `timeout` and terminals send to a process and to its group.
    static let sameRequest = Duration.milliseconds(250)

    /// How soon to try again where a reader didn't take a warning.
    private static let retryInterval = Duration.milliseconds(200)

    var console: Console
    var progressMode: ProgressDisplay.Mode
    /// Whether warnings and errors are JSON.
    var printsJSON: Bool
    /// Whether to say more than warnings.
    var isQuiet = false
    var sameRequest = Self.sameRequest
    /// Ends the process at once, without tidying.
    var abandon: (ProgramStatus) -> Void

    /// Runs something to its end.
    ///
    /// - Parameters:
    ///   - inbox: made by the calling thread.
    ///   - make: starts nothing yet. What it makes does all that takes time on threads of its own.
    func run<Value, Failure>(
        inbox: SignalInbox, _ make: (_ warn: @escaping @Sendable (String) -> Void) -> RunningWork<Value, Failure>
    ) -> Outcome<Value, Failure> {
        let warnings = Locked<[String]>([])
        let work = make { line in
            warnings.withLock { $0.append(line) }
            inbox.wake()
        }
        let end = Locked<Result<Value, Failure>?>(nil)
        let clock = ContinuousClock()
        let start = clock.now
        Task.detached(executorPreference: ImmediateExecutor()) {
            let result: Result<Value, Failure>
            do throws(Failure) {
                result = .success(try await work.run())
            } catch {
                result = .failure(error)
            }
            end.withLock { end in
                end = result
                // Inside the lock: whoever sees the end knows that the last wake is behind it.
                inbox.wake()
            }
        }

        var display = ProgressDisplay(mode: progressMode, console: console)
        var unprinted: [String] = []
        var firstStop: (number: Int32, time: Duration)?
        while true {
            let event = inbox.next(timeout: unprinted.isEmpty ? display.interval : Self.retryInterval)
            let time = clock.now - start
            switch event {
            case .stop(let number):
                guard let stop = work.stop else {
                    abandon(.signal(number))
                    break
                }
                guard let first = firstStop else {
                    firstStop = (number, time)
                    stop.action()
                    if !isQuiet && !printsJSON { unprinted.append("qcowbackup: \(stop.message)") }
                    break
                }
                if time - first.time >= sameRequest {
                    abandon(.signal(number))
                }
            case .report:
                display.printLine(work.progress(), at: time, asJSON: printsJSON)
            case .pause:
                guard let isPaused = work.togglePause() else { break }
                if printsJSON {
                    unprinted.append(JSONLine.pause(isPaused))
                } else if !isQuiet {
                    unprinted.append(isPaused ? Self.paused : Self.goingOn)
                }
            case .wake:
                unprinted += warnings.withLock { lines in
                    defer { lines = [] }
                    return lines.map { printsJSON ? JSONLine.warning($0) : ErrorText.warning($0) }
                }
                if let result = end.withLock({ $0 }) {
                    display.finish((try? result.get()).map { _ in work.progress() }, at: time)
                    for line in unprinted {
                        console.writeError(line + "\n")
                    }
                    return Outcome(result: result, signal: firstStop?.number)
                }
            case .timeout:
                break
            }
            while let line = unprinted.first, display.offer(line: line) {
                unprinted.removeFirst()
            }
            if event != .report {
                display.update(work.progress(), at: time)
            }
        }
    }

    private static let paused = "qcowbackup: paused (signal USR2 makes it go on)"
    private static let goingOn = "qcowbackup: going on"
}
