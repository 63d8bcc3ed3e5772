// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import DiskChain
import Qcow2Format

/// `qcowbackup check [options] IMAGE`
struct CheckCommand: ProgramCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check the structure of a qcow2 image, and repair it.",
        discussion: """
            Counts who uses which cluster, compares that with the image's refcounts, and reports everything that is \
            wrong, one line each: what, where, why. The content of the disk is not looked at.

            -r leaks frees space that nothing uses. -r all also mends entries that break the format, drops those that \
            lead behind the end of the file (they read as zeroes), rebuilds refcounts, sets copied flags, drops bitmaps \
            whose tables are damaged, and takes the marks off that keep the image from being written. Each kind of \
            change is told before it is made; a repair that is interrupted is finished by the next one.

            EXIT CODES:
              0      nothing is wrong
              1      the check could not be made, or not completely; also for a wrong command line
              2      the image is corrupt
              3      clusters leak, and nothing else is wrong
              63     the format has no structure to check
            """)

    @Argument(help: ArgumentHelp("The image.", valueName: "IMAGE"), completion: .file())
    var image: String

    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp("Format of IMAGE; recognised where it is not given.", valueName: "format"))
    var format: ImageFormat?

    @Option(
        name: [.customShort("r", allowingJoined: true), .customLong("repair")],
        help: ArgumentHelp("Repair IMAGE: leaks or all.", valueName: "what"))
    var repair: RepairScope?

    @Flag(name: [.customShort("q"), .long], help: "Print nothing but what is wrong.")
    var quiet = false

    @Flag(
        name: [.customShort("U"), .customLong("force-share")],
        help: "Read IMAGE although another process writes to it. What that has not written yet looks like damage.")
    var forceShare = false

    @Option(
        help: ArgumentHelp(
            "Form of the result, warnings and errors.",
            discussion: "json: one object on standard output; warnings and errors are objects on standard error.",
            valueName: "form"))
    var output = OutputOptions.Output.human

    func validate() throws {
        try LocationCheck.check(image, named: "IMAGE")
        if repair != nil, forceShare { throw ValidationError("-U is for reading: an image in use can't be repaired") }
    }

    /// What the service is asked to do.
    var request: CheckRequest {
        var request = CheckRequest(image: image)
        request.format = format
        request.repair = repair
        request.forceShare = forceShare
        return request
    }

    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        let console = environment.console
        let printsJSON = output == .json
        let messages = Messages(console: console, printsJSON: printsJSON)
        let operation = CheckOperation(request, warn: messages.printWarning) { line in
            console.writeError((printsJSON ? JSONLine.repair(line) : "Repairing: \(printable(line))") + "\n")
        }
        let result = waiting { () async throws(ServiceError) in try await operation.run() }
        switch result {
        case .success(let result):
            let text = CheckText(result: result)
            if !printsJSON { console.writeError(text.problems) }
            let isWritten =
                printsJSON
                ? console.writeOutput(JSONLine.check(result) + "\n")
                : quiet || console.writeOutput(text.summary)
            return isWritten ? ProgramStatus(result.report) : .failed
        case .failure(let error):
            messages.printError(error)
            return error.code == .unsupported ? .unsupportedFormat : .failed
        }
    }
}
