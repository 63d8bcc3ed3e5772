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

        let supervisor = Supervisor(
            console: console, progressMode: output.progressMode(isTerminal: console.isTerminal), printsJSON: printsJSON,
            isQuiet: output.quiet, abandon: environment.abandon)
        let outcome = supervisor.run(inbox: SignalInbox()) { warn in environment.makeBackup(request, warn) }

        switch outcome.result {
        case .success(let summary):
            let isCompressed = request.compression != nil
            if printsJSON {
                if !console.writeOutput(JSONLine.summary(summary, isCompressed: isCompressed) + "\n") {
                    let warning = "the backup is complete, but its summary could not be written to standard output"
                    console.writeError(JSONLine.warning(warning) + "\n")
                }
            } else if !output.quiet {
                console.writeError(SummaryText(summary: summary, isCompressed: isCompressed).description + "\n")
            }
            return .success
        case .failure(let error):
            console.writeError((printsJSON ? JSONLine.error(error) : ErrorText.error(error)) + "\n")
            return ProgramStatus(error.code, signal: outcome.signal)
        }
    }
}
