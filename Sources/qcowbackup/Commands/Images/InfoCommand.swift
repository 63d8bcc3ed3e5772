// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService

/// `qcowbackup info IMAGE`
struct InfoCommand: ProgramCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Tell what an image is: size, backing file, features, bitmaps, snapshots.",
        discussion: """
            What is shown, its JSON and the exit codes are those of qemu-img info. What qemu-img doesn't tell stands \
            apart: features and header extensions that this program doesn't know, and files that an interrupted backup \
            has left; in JSON under the key "qcowbackup".

            Only IMAGE itself is read. So it is told of images too whose disk can't be: encrypted ones, those whose \
            backing file is missing. Where bitmaps or snapshots are broken, the rest is shown, and the exit code is 1.

            EXIT CODES:
              0      everything is shown
              1      failed, or not all could be shown
              2      the command line was wrong
            """)

    @OptionGroup var options: ImageOptions

    @Flag(name: .customLong("backing-chain"), help: "Tell of all images behind IMAGE too.")
    var followsChain = false

    @Option(
        help: ArgumentHelp(
            "Form of the result, warnings and errors.",
            discussion: "json: an object, or with --backing-chain a list of them.", valueName: "form"))
    var output = OutputOptions.Output.human

    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        var request = InfoRequest(image: options.image)
        request.format = options.format
        request.backingFormat = options.backingFormat
        request.followsChain = followsChain
        request.forceShare = options.forceShare
        let messages = Messages(console: environment.console, printsJSON: output == .json)
        let operation = InfoOperation(request, warn: messages.warn)
        let result = waiting { () async throws(ServiceError) in try await operation.run() }
        messages.printWarnings()
        switch result {
        case .success(let report):
            let text =
                output == .json ? InfoJSON(report, isList: followsChain).description : InfoText(report).description
            let isWritten = environment.console.writeOutput(text)
            report.problems.forEach(messages.printError)
            return isWritten && report.problems.isEmpty ? .success : .failed
        case .failure(let error):
            messages.printError(error)
            return .failed
        }
    }
}
