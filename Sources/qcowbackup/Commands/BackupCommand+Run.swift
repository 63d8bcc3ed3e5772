// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

extension BackupCommand: ProgramCommand {
    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        let console = environment.console
        let printsJSON = output.output == .json
        let request: BackupRequest
        do {
            request = try self.request()
        } catch {
            preconditionFailure("checked when the command line was parsed")
        }
        do {
            // Before anything is shown or done; the advice is better than the parser's.
            try request.check()
        } catch {
            console.writeError((printsJSON ? JSONLine.error(error) : ErrorText.error(error)) + "\n")
            return ProgramStatus(error.code)
        }

        let progressMode = output.progressMode(isTerminal: console.isTerminal)
        let supervisor = Supervisor(
            console: console, progressMode: progressMode, printsJSON: printsJSON,
            isQuiet: output.quiet, abandon: environment.abandon)
        let inbox = SignalInbox()
        if progressMode == .bar && console.canBeAsked { PauseKey.listen(on: console.input, for: inbox) }
        let outcome = supervisor.run(inbox: inbox) { warn in environment.makeBackup(request, warn) }

        switch outcome.result {
        case .success(let summary):
            report(summary, isCompressed: request.compression != nil, on: console)
            return ProgramStatus(summary, isStrict: bitmapOptions.isStrict)
        case .failure(let error):
            console.writeError((printsJSON ? JSONLine.error(error) : ErrorText.error(error)) + "\n")
            return ProgramStatus(error.code, signal: outcome.signal)
        }
    }

    private func report(_ summary: BackupSummary, isCompressed: Bool, on console: Console) {
        if output.output == .json {
            if !console.writeOutput(JSONLine.summary(summary, isCompressed: isCompressed) + "\n") {
                let warning = "the backup is complete, but its summary could not be written to standard output"
                console.writeError(JSONLine.warning(warning) + "\n")
            }
            return
        }
        for line in UnreadableText(summary.unreadable).lines {
            console.writeError(ErrorText.warning(line) + "\n")
        }
        if !output.quiet {
            console.writeError(SummaryText(summary: summary, isCompressed: isCompressed).description + "\n")
        }
    }
}
