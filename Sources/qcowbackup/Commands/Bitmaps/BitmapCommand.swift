// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService

/// `qcowbackup bitmap list|add|remove|clear|enable|disable|merge ...`
struct BitmapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bitmap",
        abstract: "List and change the persistent dirty bitmaps of a qcow2 image.",
        discussion: """
            A dirty bitmap records which parts of a disk were written to since some point in time; incremental backups \
            are made from it. It lives in the image, and QEMU keeps it up to date while it uses the disk. \
            A change happens as a whole or not at all, whatever interrupts it.

            A bitmap that is marked in use was not saved by the program that had to keep it up to date, or that program \
            still runs. It is inconsistent: it can only be removed.

            Backups know since which of them a bitmap counts as long as qcowbackup alone clears, disables and enables it. \
            What qemu-img bitmap or a management program does to it leaves no trace: have each schedule use a bitmap of \
            its own, which nothing else touches.

            EXIT CODES:
              0      done, and on stable storage
              1      failed: the bitmaps are as they were
              2      the command line was wrong
              11     the image is locked by another process
            """,
        subcommands: [
            BitmapListCommand.self, BitmapAddCommand.self, BitmapRemoveCommand.self, BitmapClearCommand.self,
            BitmapEnableCommand.self, BitmapDisableCommand.self, BitmapMergeCommand.self,
        ])
}

/// A command that does something with the bitmaps of an image.
protocol BitmapActionCommand: ProgramCommand {
    var options: BitmapOptions { get }
    /// What the service is asked to do.
    var request: BitmapRequest { get }
    /// What is printed for people where it succeeded.
    func text(for report: BitmapReport) -> String
}

extension BitmapActionCommand {
    func text(for report: BitmapReport) -> String { "" }

    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        let console = environment.console
        let printsJSON = options.output == .json
        let messages = Messages(console: console, printsJSON: printsJSON)
        let operation = BitmapOperation(request, warn: messages.warn)
        let result = waiting { () async throws(ServiceError) in try await operation.run() }
        messages.printWarnings()
        switch result {
        case .success(let report):
            let isWritten = console.writeOutput(printsJSON ? JSONLine.bitmaps(report) + "\n" : text(for: report))
            return isWritten ? .success : .failed
        case .failure(let error):
            messages.printError(error)
            return ProgramStatus(error.code)
        }
    }
}
