// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import BlockIO

/// Watches over one backup: the thread that calls `run` answers signals and shows progress while others do the work.
///
/// Everything is printed by that one thread, which never waits for a reader. So a reader that stands still holds up
/// neither the backup nor the answer to a signal.
struct Supervisor {
    /// How the run ended.
    struct Outcome {
        var result: Result<BackupSummary, ServiceError>
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

    /// Runs a backup to its end.
    ///
    /// - Parameter inbox: made by the calling thread.
    func run(inbox: SignalInbox, _ makeBackup: (_ warn: @escaping @Sendable (String) -> Void) -> RunningBackup)
        -> Outcome
    {
        let warnings = Locked<[String]>([])
        let backup = makeBackup { line in
            warnings.withLock { $0.append(line) }
            inbox.wake()
        }
        let end = Locked<Result<BackupSummary, ServiceError>?>(nil)
        let clock = ContinuousClock()
        let start = clock.now
        Task.detached {
            let result: Result<BackupSummary, ServiceError>
            do throws(ServiceError) {
                result = .success(try await backup.run())
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
                guard let first = firstStop else {
                    firstStop = (number, time)
                    backup.cancel()
                    if !isQuiet && !printsJSON { unprinted.append(Self.cancelling) }
                    break
                }
                if time - first.time >= sameRequest {
                    abandon(.signal(number))
                }
            case .report:
                display.printLine(backup.progress(), at: time, asJSON: printsJSON)
            case .pause:
                guard let isPaused = backup.togglePause() else { break }
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
                    display.finish((try? result.get()).map { _ in backup.progress() }, at: time)
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
                display.update(backup.progress(), at: time)
            }
        }
    }

    private static let paused = "qcowbackup: paused (signal USR2 makes it go on)"
    private static let goingOn = "qcowbackup: going on"
    private static let cancelling =
        "qcowbackup: cancelling, the unfinished target is tidied up (once more: stop at once)"
}
