// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService

/// `qcowbackup list [options] DIR`
struct ListCommand: ProgramCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the backups in a folder as chains, with what is broken or left over.",
        discussion: """
            Each backup stands below the one that it is based on. MADE is when it was complete, by its manifest, or else \
            when the file was last written; DISK the size of the disk, FILE that of the file; PROVEN when verify last \
            found all of it as it was written: "never", "partly" (and nothing wrong so far), BAD, or "no manifest" to \
            prove it by. An "image" is none of our backups, and may be the base of some. Lines with ! say what is wrong. \
            From the seventh level below a base on, the level stands in front of the name.

            Only heads of files are read: a backup that is listed without a fault may be damaged all the same, which \
            verify finds. Nothing is locked. Looked at are the regular files of DIR itself, not symbolic links and not \
            folders: qcow2 images by their magic number or name, others by their manifest or as the base of an image. A \
            base outside DIR is only looked for, never opened. What is being written just now is not wrong.

            EXAMPLES:
              qcowbackup list /backups/vm1
              qcowbackup list --output=json /backups/vm1
                  for scripts

            EXIT CODES:
              0      nothing is wrong
              1      something is broken or left over, or DIR can't be read
              2      the command line was wrong
            """)

    @Argument(help: ArgumentHelp("The folder.", valueName: "DIR"), completion: .directory)
    var folder: String

    @Flag(name: .customLong("json"), help: "The same as --output=json.")
    var printsJSON = false

    @Option(
        help: ArgumentHelp(
            "Form of the result, warnings and errors.",
            discussion: "json: one object on standard output; warnings and errors are objects on standard error.",
            valueName: "form"))
    var output = OutputOptions.Output.human

    func validate() throws {
        try LocationCheck.check(folder, named: "DIR")
    }

    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        let isJSON = printsJSON || output == .json
        let messages = Messages(console: environment.console, printsJSON: isJSON)
        let operation = ListOperation(folder: folder, warn: messages.warn)
        let result = waiting { () async throws(ServiceError) in try await operation.run() }
        messages.printWarnings()
        switch result {
        case .success(let folder):
            let text = isJSON ? JSONLine.folder(folder) + "\n" : FolderText(folder).description
            return environment.console.writeOutput(text) && folder.isSound ? .success : .failed
        case .failure(let error):
            messages.printError(error)
            return ProgramStatus(error.code)
        }
    }
}
