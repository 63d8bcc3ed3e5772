// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import BlockIO

/// What a command says beside its result: warnings are kept until they can be printed by the thread that prints.
struct Messages: Sendable {
    let console: Console
    let printsJSON: Bool
    private let warnings = Locked<[String]>([])

    init(console: Console, printsJSON: Bool) {
        self.console = console
        self.printsJSON = printsJSON
    }

    /// Keeps a warning.
    var warn: @Sendable (String) -> Void {
        { [warnings] line in warnings.withLock { $0.append(line) } }
    }

    /// Prints the warnings that were kept.
    func printWarnings() {
        let lines = warnings.withLock { lines in
            defer { lines = [] }
            return lines
        }
        lines.forEach(printWarning)
    }

    /// Prints a warning at once, for commands of which nothing else prints meanwhile.
    func printWarning(_ line: String) {
        console.writeError((printsJSON ? JSONLine.warning(line) : ErrorText.warning(line)) + "\n")
    }

    func printError(_ error: ServiceError) {
        console.writeError((printsJSON ? JSONLine.error(error) : ErrorText.error(error)) + "\n")
    }
}
