// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import DiskChain
import Qcow2Format

/// `qcowbackup verify [options] BACKUP...`
struct VerifyCommand: ProgramCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Prove that backups, and all that they are based on, are what was written.",
        discussion: """
            For each file of a backup's chain: its structure is checked, then all that it holds is read and compared with \
            the digests in its manifest, and its backing file must be the backup that it was made on. The disk that was \
            backed up isn't needed. How far a run came is kept in BACKUP.verified, beside the manifest.

            What has no manifest can't be proven: then the structure is all that is checked, and the exit code is 1.

            EXAMPLES:
              qcowbackup verify monday.qcow2
                  the backup and all that it is based on
              qcowbackup verify --max-duration=10m *.qcow2
                  every night a part: what was looked at longest ago comes first, and each
                  run goes on where the last one stopped
              qcowbackup verify --sample=5% monday.qcow2
                  a twentieth of it, another one each time
              qcowbackup verify --against=disk.qcow2 full.qcow2
                  the same, and the disk must still read as the backup does

            EXIT CODES:
              0      what was looked at is what was written; with --sample,
                     --max-duration and --structure that is not all
              1      could not be proven: there is no manifest, or something could
                     not be looked at
              2      the command line was wrong
              6      something is not what was written
              7      the disk of --against reads otherwise than the backup
              11     an image is locked by another process
              128+N  ended by signal N; the next run with --max-duration goes on there
            """)

    @Argument(
        help: ArgumentHelp("Backups. Of a chain the last one is enough.", valueName: "BACKUP"), completion: .file())
    var backups: [String]

    @Flag(help: "Check the structure alone, as check does, for the whole chain.")
    var structure = false

    @Option(help: ArgumentHelp("Read only so much of the content, chosen anew each time: 5%.", valueName: "share"))
    var sample: String?

    @Option(
        name: .customLong("max-duration"),
        help: ArgumentHelp(
            "Stop after this time: 90s, 10m, 2h. The next run with a limit goes on there.", valueName: "time"))
    var maximumDuration: String?

    @Option(
        help: ArgumentHelp(
            "A disk that must have the backup's content as well. All of it is compared, and from its start.",
            valueName: "SOURCE"),
        completion: .file())
    var against: String?

    @Option(
        help: ArgumentHelp("The manifest of BACKUP. (default: BACKUP.manifest)", valueName: "file"),
        completion: .file())
    var manifest: String?

    @Option(
        name: .customLong("chain"),
        help: ArgumentHelp(
            "The folder to which the files of the chain were moved. (default: where the files say)",
            valueName: "folder"),
        completion: .directory)
    var folder: String?

    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp(
            "Format of BACKUP. (default: what its manifest says, or else recognised)", valueName: "format"))
    var format: ImageFormat?

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp("Format of backing files whose format no image records.", valueName: "format"))
    var backingFormat: ImageFormat?

    @Flag(
        name: [.customShort("U"), .customLong("force-share")],
        help: "Read the images although other processes write to them.")
    var forceShare = false

    @Option(
        name: [.customShort("j", allowingJoined: true), .customLong("max-workers")],
        help: ArgumentHelp(
            "Parallel workers, 1 to \(CopyingOptions.maximumWorkers). (default: by the number of processors)",
            valueName: "number"))
    var workers: Int?

    @Flag(name: .customLong("json"), help: "The same as --output=json.")
    var printsJSON = false

    @OptionGroup(title: "Output")
    var output: OutputOptions

    func validate() throws {
        guard !backups.isEmpty else { throw ValidationError("BACKUP is missing") }
        for backup in backups { try LocationCheck.check(backup, named: "BACKUP") }
        if let against { try LocationCheck.check(against, named: "--against") }
        if let manifest { try LocationCheck.check(manifest, named: "--manifest") }
        if let folder, folder.isEmpty { throw ValidationError("--chain takes the name of a folder") }
        if let workers, !(1...CopyingOptions.maximumWorkers).contains(workers) {
            throw ValidationError("-j is a number from 1 to \(CopyingOptions.maximumWorkers), not \(workers)")
        }
        _ = try request()
    }

    /// What the service is asked to do.
    ///
    /// - Throws: `ValidationError` for what can't be read.
    func request() throws -> VerifyRequest {
        var request = VerifyRequest(backups: backups)
        if structure, sample != nil { throw ValidationError("--structure and --sample contradict each other") }
        if structure { request.extent = .nothing }
        if let sample {
            guard let share = Share(parsing: sample) else {
                throw ValidationError("--sample is more than 0% and less than 100%, such as 5%, not '\(sample)'")
            }
            request.extent = .sample(share.fraction)
        }
        if let maximumDuration {
            guard let time = TimeSpan(parsing: maximumDuration) else {
                throw ValidationError("--max-duration is a time such as 90s, 10m or 2h, not '\(maximumDuration)'")
            }
            request.duration = time.duration
        }
        request.source = against
        request.manifest = manifest
        request.format = format
        request.backingFormat = backingFormat
        request.chainFolder = folder
        request.forceShare = forceShare
        request.workers = workers
        return request
    }

    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        let request: VerifyRequest
        do {
            request = try self.request()
        } catch {
            preconditionFailure("checked when the command line was parsed")
        }
        let console = environment.console
        let isJSON = printsJSON || output.output == .json
        let messages = Messages(console: console, printsJSON: isJSON)
        let supervisor = Supervisor(
            console: console, progressMode: output.progressMode(isTerminal: console.isTerminal), printsJSON: isJSON,
            isQuiet: output.quiet, abandon: environment.abandon)
        let outcome = supervisor.run(inbox: SignalInbox()) { warn in
            let operation = VerifyOperation(request, warn: warn)
            return RunningWork(
                progress: { operation.progress },
                stop: .init(message: "stopping: what is proven is kept (once more: stop at once)") { operation.stop() },
                run: { () async throws(ServiceError) in try await operation.run() })
        }
        switch outcome.result {
        case .success(let reports):
            let text = isJSON ? JSONLine.verification(reports) + "\n" : VerifyText(reports).description
            // With -q the exit code is the result, unless something is wrong.
            let verdict = reports.map(\.verdict).max() ?? .unproven
            if !output.quiet || isJSON || verdict > .sound {
                guard console.writeOutput(text) else { return .failed }
            }
            // What was found stands, whatever ended the run.
            if verdict < .different {
                if let failure = reports.compactMap(\.failure).first { return ProgramStatus(failure.code) }
                if let signal = outcome.signal { return .signal(signal) }
            }
            return ProgramStatus(verdict)
        case .failure(let error):
            messages.printError(error)
            return ProgramStatus(error.code, signal: outcome.signal)
        }
    }
}
