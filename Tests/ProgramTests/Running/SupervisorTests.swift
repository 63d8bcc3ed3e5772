// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import BlockIO
import Glibc
import Testing

@testable import qcowbackup

/// A run as its user sees it at a terminal, and its answers to signals. Signals go to the supervisor's thread only.
@Suite(.timeLimit(.minutes(5))) struct SupervisorTests {
    init() {
        // A shell's background jobs ignore some, and what the parent ignores a run doesn't answer.
        for number in SignalInbox.allStopSignals { Glibc.signal(number, SIG_DFL) }
    }

    /// A backup that does what the test says.
    private final class StandIn: Sendable {
        let offset = Locked<UInt64>(0)
        let cancels = Locked(0)
        let isPaused = Locked(false)
        private let cancelled = AsyncStream.makeStream(of: Void.self)

        func cancel() {
            cancels.withLock { $0 += 1 }
            cancelled.continuation.yield()
        }

        func waitForCancel() async {
            for await _ in cancelled.stream { return }
        }

        func running(
            _ run: @escaping @Sendable (StandIn) async -> Result<BackupSummary, ServiceError>
        ) -> RunningBackup {
            RunningBackup(
                progress: { BackupProgress(offset: self.offset.withLock { $0 }, length: 1000) },
                cancel: { self.cancel() },
                togglePause: {
                    self.isPaused.withLock {
                        $0.toggle()
                        return $0
                    }
                },
                run: { () async throws(ServiceError) -> BackupSummary in try await run(self).get() })
        }
    }

    private struct Ending: Sendable {
        var result: Result<BackupSummary, ServiceError>
        var signal: Int32?
        /// Where the program would have stopped at once.
        var abandoned: [ProgramStatus]
        var cancels: Int
        var screen: [String]
        var written: String
    }

    /// - Parameter run: gets the stand-in, the terminal, the supervisor's thread and the function that warns.
    private static func supervise(
        mode: ProgressDisplay.Mode, columns: UInt16 = 80, printsJSON: Bool = false, sameRequest: Duration = .zero,
        _ run:
            @escaping @Sendable (StandIn, PseudoTerminal, pthread_t, @Sendable (String) -> Void)
            async
            -> Result<BackupSummary, ServiceError>
    ) async throws -> Ending {
        let terminal = try PseudoTerminal(columns: columns)
        let standIn = StandIn()
        let abandoned = Locked<[ProgramStatus]>([])
        let outcome = await onThread {
            let supervisor = Supervisor(
                console: Console(output: terminal.descriptor, errors: terminal.descriptor), progressMode: mode,
                printsJSON: printsJSON, sameRequest: sameRequest,
                abandon: { status in abandoned.withLock { $0.append(status) } })
            let inbox = SignalInbox()
            let thread = pthread_self()
            return supervisor.run(inbox: inbox) { warn in
                standIn.running { standIn in await run(standIn, terminal, thread, warn) }
            }
        }
        let written = await terminal.finish()
        return Ending(
            result: outcome.result, signal: outcome.signal, abandoned: abandoned.withLock { $0 },
            cancels: standIn.cancels.withLock { $0 }, screen: PseudoTerminal.screen(after: written), written: written)
    }

    private static let completed = Result<BackupSummary, ServiceError>.success(BackupSummary(target: "t"))
    private static let cancelled = Result<BackupSummary, ServiceError>.failure(ServiceError(.cancelled, "cancelled"))

    @Test func theBarIsDrawnAndGoesAway() async throws {
        let ending = try await Self.supervise(mode: .bar) { standIn, terminal, _, _ in
            standIn.offset.withLock { $0 = 423 }
            await terminal.wait { $0.contains("\r42.3% [") }
            standIn.offset.withLock { $0 = 800 }
            await terminal.wait { $0.contains("\r80.0% [") }
            return Self.completed
        }
        #expect(try ending.result.get().target == "t")
        #expect(ending.screen == [""])
        #expect(!ending.written.contains("\n"))
        for drawing in ending.written.split(separator: "\r") {
            #expect(drawing.count <= 79)
        }
    }

    @Test func theBarFitsANarrowTerminal() async throws {
        let ending = try await Self.supervise(mode: .bar, columns: 30) { standIn, terminal, _, _ in
            standIn.offset.withLock { $0 = 423 }
            await terminal.wait {
                $0.contains("42.3%     423 B of 1000 B\r") || $0.hasSuffix("42.3%     423 B of 1000 B")
            }
            return Self.completed
        }
        #expect(ending.screen == [""])
        for drawing in ending.written.split(separator: "\r") {
            #expect(drawing.count <= 29)
        }
    }

    @Test func aWarningTakesTheBarsPlace() async throws {
        let ending = try await Self.supervise(mode: .bar) { _, terminal, _, warn in
            await terminal.wait { $0.contains(" 0.0% [") }
            warn("look out")
            await terminal.wait { $0.contains("look out") }
            return .failure(ServiceError(.io, "no"))
        }
        #expect(ending.screen == ["qcowbackup: warning: look out", ""])
        #expect(throws: ServiceError.self) { try ending.result.get() }
    }

    @Test func noProgressMeansNothingPrinted() async throws {
        let ending = try await Self.supervise(mode: .none) { _, _, _, _ in Self.completed }
        #expect(ending.written == "")
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func aStopSignalCancels(signal: Int32) async throws {
        let ending = try await Self.supervise(mode: .none) { standIn, _, thread, _ in
            pthread_kill(thread, signal)
            await standIn.waitForCancel()
            return Self.cancelled
        }
        #expect(ending.signal == signal)
        #expect(ending.cancels == 1)
        #expect(ending.abandoned == [])
        #expect(ending.screen.first?.hasPrefix("qcowbackup: cancelling") == true)
    }

    @Test func aSecondSignalStopsAtOnce() async throws {
        let ending = try await Self.supervise(mode: .none, printsJSON: true) { standIn, _, thread, _ in
            pthread_kill(thread, SIGINT)
            await standIn.waitForCancel()
            pthread_kill(thread, SIGTERM)
            return Self.cancelled
        }
        #expect(ending.signal == SIGINT)
        #expect(ending.cancels == 1)
        #expect(ending.abandoned == [.signal(SIGTERM)])
        #expect(ending.written == "")
    }

    /// `timeout` sends its signal to the process and then to its group.
    @Test func aSignalSentTwiceIsOneRequest() async throws {
        let ending = try await Self.supervise(mode: .none, sameRequest: .seconds(3600)) { standIn, _, thread, _ in
            pthread_kill(thread, SIGTERM)
            await standIn.waitForCancel()
            pthread_kill(thread, SIGTERM)
            return Self.cancelled
        }
        #expect(ending.signal == SIGTERM)
        #expect(ending.cancels == 1)
        #expect(ending.abandoned == [])
    }

    /// A signal that comes too late to stop anything does not turn a complete backup into a failed one.
    @Test func aRunMayCompleteInSpiteOfASignal() async throws {
        let ending = try await Self.supervise(mode: .none) { standIn, _, thread, _ in
            pthread_kill(thread, SIGINT)
            await standIn.waitForCancel()
            return Self.completed
        }
        #expect(ending.signal == SIGINT)
        #expect(try ending.result.get().target == "t")
    }

    @Test(arguments: [
        (ProgressDisplay.Mode.none, false, "42.3%  423 B of 1000 B"), (.none, true, #""offset":423,"percent":42.3"#),
        (.json, false, #""offset":423,"percent":42.3"#), (.bar, true, "42.3%  423 B of 1000 B"),
    ])
    func signalUSR1PrintsOneLine(mode: ProgressDisplay.Mode, printsJSON: Bool, text: String) async throws {
        let ending = try await Self.supervise(mode: mode, printsJSON: printsJSON) { standIn, terminal, thread, _ in
            standIn.offset.withLock { $0 = 423 }
            pthread_kill(thread, SIGUSR1)
            await terminal.wait { $0.contains(text) && $0.unicodeScalars.last == "\n" }
            return Self.completed
        }
        #expect(ending.screen.contains { $0.contains(text) })
        #expect(ending.cancels == 0)
        #expect(ending.signal == nil)
    }

    @Test(arguments: [
        (false, "qcowbackup: paused", "qcowbackup: going on"),
        (true, #"{"status":"paused","type":"status"}"#, #"{"status":"running","type":"status"}"#),
    ])
    func signalUSR2PausesAndGoesOn(printsJSON: Bool, paused: String, goingOn: String) async throws {
        let ending = try await Self.supervise(mode: .bar, printsJSON: printsJSON) { standIn, terminal, thread, _ in
            pthread_kill(thread, SIGUSR2)
            await terminal.wait { $0.contains(paused) }
            guard standIn.isPaused.withLock({ $0 }) else { return Self.cancelled }
            pthread_kill(thread, SIGUSR2)
            await terminal.wait { $0.contains(goingOn) }
            return standIn.isPaused.withLock { $0 } ? Self.cancelled : Self.completed
        }
        #expect((try? ending.result.get()) != nil)
        #expect(ending.signal == nil)
    }

    /// A reader that went away, or that stands still, disturbs nothing.
    @Test func aBackupOutlivesItsReader() async throws {
        Glibc.signal(SIGPIPE, SIG_IGN)
        let pipe = try Pipe()
        close(pipe.reader)
        let outcome = await onThread {
            let console = Console(output: pipe.writer, errors: pipe.writer)
            let supervisor = Supervisor(console: console, progressMode: .json, printsJSON: false, abandon: { _ in })
            return supervisor.run(inbox: SignalInbox()) { warn in
                RunningBackup(
                    progress: { BackupProgress(offset: 1, length: 2) }, cancel: {}, togglePause: { nil },
                    run: { () async throws(ServiceError) -> BackupSummary in
                        warn("nobody reads this")
                        return BackupSummary(target: "t")
                    })
            }
        }
        close(pipe.writer)
        #expect(try outcome.result.get().target == "t")
    }

    @Test func progressIsLeftOutWhereTheReaderStandsStill() throws {
        let pipe = try Pipe()
        let console = Console(output: pipe.writer, errors: pipe.writer)
        var accepted = 0
        while console.offerError(String(repeating: "x", count: 4096)) { accepted += 1 }
        #expect(accepted > 0)
        var display = ProgressDisplay(mode: .json, console: console)
        display.update(BackupProgress(offset: 1, length: 2), at: .seconds(1))
        #expect(pipe.closeAndRead() == String(repeating: "x", count: 4096 * accepted))
    }

    @Test func theDisplayKeepsItsPace() throws {
        let pipe = try Pipe()
        let console = Console(output: pipe.writer, errors: pipe.writer)
        var display = ProgressDisplay(mode: .json, console: console)
        for tenth in 0..<50 {
            let progress = BackupProgress(offset: UInt64(tenth) * 10, length: 1000)
            display.update(progress, at: .milliseconds(tenth * 100))
        }
        display.finish(BackupProgress(offset: 1000, length: 1000), at: .seconds(5))
        #expect(
            pipe.closeAndRead() == """
                {"len":1000,"offset":0,"percent":0,"rate":0,"type":"progress"}
                {"len":1000,"offset":100,"percent":10,"rate":100,"type":"progress"}
                {"len":1000,"offset":200,"percent":20,"rate":100,"type":"progress"}
                {"len":1000,"offset":300,"percent":30,"rate":100,"type":"progress"}
                {"len":1000,"offset":400,"percent":40,"rate":100,"type":"progress"}
                {"len":1000,"offset":1000,"percent":100,"rate":200,"type":"progress"}

                """)
    }
}
