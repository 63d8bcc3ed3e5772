// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import Glibc

/// The C entry point, under the name that SwiftPM gives it, so that the arguments are those that the system passes.
///
/// `CommandLine` looks for them in memory, beside the environment, and in /proc: where a library has moved the one and the
/// other is not there, it finds none, or others.
@c(qcowbackup_main)
func programMain(_ count: Int32, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32 {
    Program.main((0..<Int(count)).dropFirst().compactMap { arguments[$0] })
}

enum Program {
    static func main(_ arguments: [UnsafeMutablePointer<CChar>]) -> Int32 {
        let environment = ProgramEnvironment(abandon: { status in _exit(status.code) })
        let texts = arguments.map { String(cString: $0) }
        let messages = Messages(console: environment.console, printsJSON: wantsJSON(texts))
        if let error = ProcessSetup.run() {
            messages.printError(error)
            return ProgramStatus(error.code).code
        }
        if let index = arguments.firstIndex(where: { String(validatingCString: $0) == nil }) {
            return refuse(texts[index], at: index + 1, messages).code
        }
        return run(texts, in: environment).code
    }

    /// Such an argument was changed on its way into a string, so that a file name in it would name another file.
    private static func refuse(_ argument: String, at position: Int, _ messages: Messages) -> ProgramStatus {
        messages.printError(
            ServiceError(
                .usage, "argument \(position) is not UTF-8: \(argument)",
                advice: "rename the file, or reach it by way of a link with another name"))
        return .usage
    }

    /// Does what a command line says.
    ///
    /// - Parameter arguments: without the program's name.
    static func run(_ arguments: [String], in environment: ProgramEnvironment) -> ProgramStatus {
        if TargetOptionList.isAskedForHelp(in: arguments) {
            let text = "Options of a qcow2 target (a raw one has none):\n" + TargetOption.helpText + "\n"
            return environment.console.writeOutput(text) ? .success : .failed
        }
        let root = root(for: arguments)
        do {
            var command = try root.parseAsRoot(separated(arguments))
            if let backup = command as? BackupCommand,
                QcowBackupCommand.misplacedCommand(in: arguments) == backup.source, access(backup.source, F_OK) != 0
            {
                throw ValidationError("\(backup.source) is a command, and no file has that name")
            }
            if let command = command as? any ProgramCommand {
                return command.run(in: environment)
            }
            // One of the parser's own, such as `help`.
            try command.run()
            return .success
        } catch {
            return finish(error, of: root, arguments, in: environment.console)
        }
    }

    /// The command that a command line is read by.
    private static func root(for arguments: [String]) -> any ParsableCommand.Type {
        guard let first = arguments.first else { return QcowBackupCommand.self }
        if first.hasPrefix(CompletionCommand.option) { return CompletionCommand.self }
        return first == ManualCommand.option ? ManualCommand.self : QcowBackupCommand.self
    }

    /// The arguments with `-oNAME=VALUE` in two: the parser would take it for a long option.
    static func separated(_ arguments: [String]) -> [String] {
        let options = arguments.prefix { $0 != "--" }
        return options.flatMap { argument in
            guard argument.hasPrefix("-o"), argument.dropFirst(3).contains("=") else { return [argument] }
            return ["-o", String(argument.dropFirst(2))]
        } + arguments.dropFirst(options.count)
    }

    private static func advice(for arguments: [String]) -> String {
        guard let command = QcowBackupCommand.misplacedCommand(in: arguments) else { return "see qcowbackup --help" }
        return "options stand behind the command: qcowbackup \(command) [options]"
    }

    /// The argument that the parser took for a request for help because it has an h among its letters; `nil` where help, or
    /// what is like it, was asked for.
    private static func fileName(among arguments: [String]) -> String? {
        let options = arguments.prefix { $0 != "--" }
        let requests = ["-h", "-help", "--help", "--help-hidden", "--version", "help", ManualCommand.option]
        guard !options.contains(where: { requests.contains($0) || $0.hasPrefix(CompletionCommand.option) }) else {
            return nil
        }
        return options.first { $0.hasPrefix("-") && $0.count > 2 && $0.contains("h") }
    }

    /// Tells what the parser has to say: the help, the version or a completion script, or what is wrong.
    private static func finish(
        _ error: any Error, of root: any ParsableCommand.Type, _ arguments: [String], in console: Console
    ) -> ProgramStatus {
        if root.exitCode(for: error) == .success, let name = fileName(among: arguments) {
            Messages(console: console, printsJSON: wantsJSON(arguments)).printError(
                ServiceError(
                    .usage, "\(name) is no option", advice: "a file whose name begins with a dash is named ./\(name)"))
            return arguments.first == CheckCommand.configuration.commandName ? .failed : .usage
        }
        if root.exitCode(for: error) == .success {
            let isWritten = console.writeOutput(HelpText.text(for: error, of: root, columns: console.columns) + "\n")
            return isWritten ? .success : .failed
        }
        Messages(console: console, printsJSON: wantsJSON(arguments)).printError(
            ServiceError(.usage, root.message(for: error), advice: advice(for: arguments)))
        // There, 2 says that an image is corrupt.
        return arguments.first == CheckCommand.configuration.commandName ? .failed : .usage
    }

    /// Whether a command line that could not be parsed asks for JSON.
    static func wantsJSON(_ arguments: [String]) -> Bool {
        let options = arguments.prefix { $0 != "--" }
        return options.contains("--output=json")
            || zip(options, options.dropFirst()).contains { $0 == ("--output", "json") }
    }
}
