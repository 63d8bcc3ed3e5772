// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import Qcow2Format

/// `qcowbackup restore [options] BACKUP TARGET`
struct RestoreCommand: CopyingCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Write a backup, with all that it is based on, to a file or a block device.",
        usage: "qcowbackup restore [<options>] <BACKUP> <TARGET>",
        discussion: RestoreHelp.discussion)

    @Argument(
        help: ArgumentHelp(
            "The backup: of a chain, the file that was made at the point in time to go back to.", valueName: "BACKUP"),
        completion: .file())
    var backup: String

    @Argument(
        help: ArgumentHelp(
            "Where the disk goes: a new file, with --force the file of the disk itself, with -n a block device.",
            valueName: "TARGET"),
        completion: .file())
    var target: String

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Prove what is read by the manifests of BACKUP and its chain.",
            discussion: """
                Content that is not what was written ends the restore; with --no-verify it is restored as it is. Files \
                without a manifest can't be proven.
                """))
    var verify = true

    @OptionGroup(title: "Backup")
    var chainOptions: ChainOptions

    @OptionGroup(title: "Target")
    var targetOptions: TargetOptions

    @OptionGroup(title: "Compression")
    var compression: CompressionOptions

    @OptionGroup(title: "Copying")
    var copying: CopyingOptions

    @OptionGroup(title: "Output")
    var output: OutputOptions

    func validate() throws {
        try LocationCheck.check(backup, named: "BACKUP")
        try LocationCheck.check(target, named: "TARGET")
        _ = try request()
    }

    /// What the service is asked to do.
    ///
    /// - Throws: `ValidationError` where options contradict each other.
    func request() throws -> RestoreRequest {
        var request = RestoreRequest(source: backup, target: target)
        request.chainFolder = chainOptions.folder
        request.verifies = verify
        request.copy.trustsChain = chainOptions.trustsChain
        request.targetFormat = targetOptions.format
        request.copy.sourceFormat = chainOptions.format
        request.copy.backingFormat = chainOptions.backingFormat
        targetOptions.apply(to: &request.copy)
        request.copy.compression = try compression.settings(targetOptions: targetOptions.options)
        try copying.apply(to: &request.copy)
        return request
    }

    func copyingRun(in environment: ProgramEnvironment) throws -> CopyingRun {
        let request = try request()
        return CopyingRun(isCompressed: request.copy.compression != nil) { canBeResumed, warn in
            var request = request
            request.copy.canBeResumed = canBeResumed
            return environment.makeRestore(request, warn)
        }
    }
}
