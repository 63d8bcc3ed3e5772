// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// The signals that a run answers, received one after another by the thread that made the inbox.
///
/// They are blocked in that thread, and in every thread that it starts afterwards: make the inbox before the first one.
struct SignalInbox: Sendable {
    enum Event: Equatable {
        /// The run is asked to end by this signal.
        case stop(Int32)
        /// Someone asks how far the run is.
        case report
        /// Someone asks for a pause, or for its end.
        case pause
        /// `wake` was called.
        case wake
        case timeout
    }

    /// What asks a run to end.
    static let allStopSignals = [SIGINT, SIGTERM, SIGHUP]
    /// Ignored where nobody cares, so that a late one is harmless.
    private static let wakeSignal = SIGURG
    private static let reportSignal = SIGUSR1
    private static let pauseSignal = SIGUSR2

    private static let ownSignals = [reportSignal, pauseSignal, wakeSignal]

    private let thread: pthread_t
    private let stopSignals: [Int32]

    init() {
        thread = pthread_self()
        // What the parent process set to be ignored stays ignored: nohup does that, and a shell for background jobs.
        stopSignals = Self.allStopSignals.filter { !Self.isIgnored($0) }
        var signals = Self.set(stopSignals + Self.ownSignals)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    /// Makes `next` return in the inbox's thread, which must still run. From any thread.
    func wake() {
        pthread_kill(thread, Self.wakeSignal)
    }

    /// Makes `next` return `pause` in the inbox's thread, which must still run. From any thread.
    func askForPause() {
        pthread_kill(thread, Self.pauseSignal)
    }

    /// Waits for a signal. Only in the inbox's thread.
    ///
    /// - Parameter timeout: `nil` waits for as long as it takes.
    func next(timeout: Duration?) -> Event {
        var signals = Self.set(stopSignals + Self.ownSignals)
        while true {
            let number: Int32
            if let timeout {
                let (seconds, attoseconds) = max(timeout, .zero).components
                var limit = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
                number = sigtimedwait(&signals, nil, &limit)
                if number < 0, errno == EAGAIN { return .timeout }
            } else {
                number = sigwaitinfo(&signals, nil)
            }
            switch number {
            case Self.wakeSignal: return .wake
            case Self.reportSignal: return .report
            case Self.pauseSignal: return .pause
            case 1...: return .stop(number)
            default: continue  // interrupted, by a debugger or a stop and continue
            }
        }
    }

    static func set(_ numbers: [Int32]) -> sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in numbers {
            sigaddset(&signals, number)
        }
        return signals
    }

    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard sigaction(number, nil, &action) == 0 else { return false }
        // SIG_IGN is no function's address but the number 1.
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
    }
}
