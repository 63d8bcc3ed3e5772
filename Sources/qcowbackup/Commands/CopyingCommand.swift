// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// A command that copies a disk while a supervisor watches: `backup`, `restore`.
protocol CopyingCommand: ProgramCommand {
    var output: OutputOptions { get }

    /// What there is to run.
    ///
    /// - Throws: what `validate` throws too.
    func copyingRun(in environment: ProgramEnvironment) throws -> CopyingRun
}

/// A run that has not been made yet.
struct CopyingRun {
    /// Whether the target's clusters get compressed.
    var isCompressed: Bool
    /// Whether the exit code tells more than whether it succeeded.
    var isStrict = false
    /// Refuses options that contradict each other.
    var check: () throws(ServiceError) -> Void = { () throws(ServiceError) in }
    /// Makes it: whether someone can resume it where it stands still, and what takes its warnings.
    var make: (_ canBeResumed: Bool, _ warn: @escaping @Sendable (String) -> Void) -> RunningBackup
}

extension CopyingCommand {
    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        let console = environment.console
        let printsJSON = output.output == .json
        let messages = Messages(console: console, printsJSON: printsJSON)
        let run: CopyingRun
        do {
            run = try copyingRun(in: environment)
        } catch {
            preconditionFailure("checked when the command line was parsed")
        }
        do throws(ServiceError) {
            // Before anything is shown or done; the advice is better than the parser's.
            try run.check()
        } catch {
            messages.printError(error)
            return ProgramStatus(error.code)
        }

        let progressMode = output.progressMode(isTerminal: console.isTerminal)
        let supervisor = Supervisor(
            console: console, progressMode: progressMode, printsJSON: printsJSON,
            isQuiet: output.quiet, abandon: environment.abandon)
        let inbox = SignalInbox()
        if console.canBeAsked { PauseKey.listen(on: console.input, for: inbox) }
        let outcome = supervisor.run(inbox: inbox) { warn in run.make(console.canBeAsked, warn) }

        switch outcome.result {
        case .success(let summary):
            report(summary, isCompressed: run.isCompressed, messages)
            if let error = summary.bitmapFailure {
                messages.printError(error)
            }
            return ProgramStatus(summary, isStrict: run.isStrict)
        case .failure(let error):
            messages.printError(error)
            return ProgramStatus(error.code, signal: outcome.signal)
        }
    }

    private func report(_ summary: BackupSummary, isCompressed: Bool, _ messages: Messages) {
        let console = messages.console
        if messages.printsJSON {
            if !console.writeOutput(JSONLine.summary(summary, isCompressed: isCompressed) + "\n") {
                messages.printWarning(
                    "everything is complete, but the summary could not be written to standard output")
            }
            return
        }
        UnreadableText(summary.unreadable).lines.forEach(messages.printWarning)
        if !output.quiet {
            console.writeError(SummaryText(summary: summary, isCompressed: isCompressed).description + "\n")
        }
    }
}
