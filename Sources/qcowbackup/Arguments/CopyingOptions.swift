// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupCore
import BackupService

/// How the copying is done. What is copied doesn't depend on these.
struct CopyingOptions: ParsableArguments {
    /// More can't help, and each costs a thread and its buffers.
    static let maximumWorkers = 64

    @Option(
        name: .customLong("copy-range"),
        help: ArgumentHelp(
            "Whether the kernel may copy or share blocks without us reading them.",
            discussion: "auto: where the file system shares blocks. on: wherever it can.", valueName: "when"))
    var copyRange: BackupRequest.CopyRange = .auto

    @Option(
        name: .customLong("max-workers"),
        help: ArgumentHelp(
            """
            Parallel workers, 1 to \(maximumWorkers); each takes a few MiB of memory. (default: by the number of \
            processors)
            """,
            valueName: "number"))
    var maximumWorkers: Int?

    @Option(
        help: ArgumentHelp(
            "Most bytes to copy each second: 500K, 100M, 1.5G. (default: no limit)",
            discussion: "Zeroes that the source knows of, such as holes, don't count.", valueName: "bytes"))
    var speed: String?

    @Option(
        name: .customLong("on-source-error"),
        help: ArgumentHelp(
            "What to do when the source can't be read.",
            discussion: """
                report: give up. ignore: after three tries go on with zeroes in place of the cluster, list \
                what is missing, and exit with code 3. stop: stand still until resumed, then try again; without a terminal \
                to resume it at, as report. enospc: as report.
                """,
            valueName: "action"))
    var onSourceError: ErrorPolicy = .report

    @Option(
        name: .customLong("on-target-error"),
        help: ArgumentHelp(
            "What to do when TARGET can't be written.",
            discussion: """
                report: give up. ignore: try again until it works. stop: stand still until resumed, then try \
                again; without a terminal to resume it at, as report. enospc: stop where there is no space, or a quota is \
                used up, report all else.
                """,
            valueName: "action"))
    var onTargetError: ErrorPolicy = .report

    /// - Throws: `ValidationError` where `--speed` is no number of bytes.
    func apply(to request: inout BackupRequest) throws {
        request.copyRange = copyRange
        request.workers = maximumWorkers
        request.speed = try bytesPerSecond()
        request.onSourceError = onSourceError
        request.onTargetError = onTargetError
    }

    /// The value of `--speed` in bytes each second; 0 for no limit.
    private func bytesPerSecond() throws -> UInt64 {
        guard let speed else { return 0 }
        guard let size = ByteSize(parsing: speed) else {
            throw ValidationError("--speed is a number of bytes such as 100M, not '\(speed)'")
        }
        return size.bytes
    }

    func validate() throws {
        if let maximumWorkers, !(1...Self.maximumWorkers).contains(maximumWorkers) {
            throw ValidationError("--max-workers is a number from 1 to \(Self.maximumWorkers), not \(maximumWorkers)")
        }
    }
}
