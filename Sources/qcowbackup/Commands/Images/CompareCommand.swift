// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import DiskChain
import Qcow2Format

/// `qcowbackup compare A B`
struct CompareCommand: ProgramCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Compare the content of two disks, whatever their formats and chains.",
        discussion: """
            Disks are the same where a guest reads the same from both. One may be longer, if it goes on with zeroes. \
            What is shown is that of qemu-img compare, which tells differences by the sector; JSON tells the byte.

            EXIT CODES:
              0      the disks are the same
              1      they differ
              2      an image could not be opened, or the command line was wrong
              3      it could not be found out how a disk is stored
              4      a disk could not be read
            """)

    @Argument(help: ArgumentHelp("An image file or a block device.", valueName: "A"), completion: .file())
    var first: String

    @Argument(help: ArgumentHelp("Another one.", valueName: "B"), completion: .file())
    var second: String

    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp("Format of A; recognised if not given.", valueName: "format"))
    var firstFormat: ImageFormat?

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp("Format of B; recognised if not given.", valueName: "format"))
    var secondFormat: ImageFormat?

    @Option(
        name: .customLong("backing-format"),
        help: ArgumentHelp("Format of backing files whose format no image records.", valueName: "format"))
    var backingFormat: ImageFormat?

    @Flag(
        name: [.customShort("s"), .customLong("strict")],
        help: "Differences in length and in what is allocated count too.")
    var isStrict = false

    @Flag(name: .customShort("p"), help: "Show the progress on standard error.")
    var showsProgress = false

    @Flag(name: [.customShort("q"), .long], help: "Print nothing but errors: the exit code tells.")
    var quiet = false

    @Flag(
        name: [.customShort("U"), .customLong("force-share")],
        help: "Read the disks although other processes write to them.")
    var forceShare = false

    @Option(help: ArgumentHelp("Form of the result, warnings and errors.", valueName: "form"))
    var output = OutputOptions.Output.human

    func validate() throws {
        try LocationCheck.check(first, named: "A")
        try LocationCheck.check(second, named: "B")
    }

    var request: CompareRequest {
        var request = CompareRequest(first: first, second: second)
        request.firstFormat = firstFormat
        request.secondFormat = secondFormat
        request.backingFormat = backingFormat
        request.isStrict = isStrict
        request.forceShare = forceShare
        return request
    }

    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        let console = environment.console
        let messages = Messages(console: console, printsJSON: output == .json)
        // As with qemu-img, quiet is stronger than -p.
        let mode: ProgressDisplay.Mode = !showsProgress || quiet ? .none : output == .json ? .json : .bar
        let supervisor = Supervisor(
            console: console, progressMode: mode, printsJSON: output == .json, abandon: environment.abandon)
        let outcome = supervisor.run(inbox: SignalInbox()) { warn in
            let operation = CompareOperation(request, warn: warn)
            return RunningWork(
                progress: { operation.progress },
                run: { () async throws(CompareFailure) in try await operation.run() })
        }
        switch outcome.result {
        case .success(let report):
            let text = output == .json ? JSONLine.comparison(report) + "\n" : CompareText(report).description
            // With -q the exit code is the result.
            guard quiet || console.writeOutput(text) else { return .compareFailed(.opening) }
            return report.difference == nil ? .success : .different
        case .failure(let failure):
            messages.printError(failure.error)
            return .compareFailed(failure.stage)
        }
    }
}
