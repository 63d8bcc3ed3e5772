// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
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

    func validate() throws {
        if let maximumWorkers, !(1...Self.maximumWorkers).contains(maximumWorkers) {
            throw ValidationError("--max-workers is a number from 1 to \(Self.maximumWorkers), not \(maximumWorkers)")
        }
    }
}
