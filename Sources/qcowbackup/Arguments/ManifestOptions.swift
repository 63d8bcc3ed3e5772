// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupManifest
import BackupService

/// What a backup leaves behind to be proven by.
struct ManifestOptions: ParsableArguments {
    /// The value of `--digest`.
    enum Algorithm: String, CaseIterable, ExpressibleByArgument {
        case xxh3
        case sha256
        case none
    }

    @Option(
        help: ArgumentHelp(
            "How the content is digested for the manifest.",
            discussion: """
                xxh3: finds every accident, and costs next to nothing. sha256: finds forgery too, if the manifest is kept \
                safe. none: makes no manifest; blocks that the kernel shares or copies are then not read.
                """,
            valueName: "algorithm"))
    var digest = Algorithm.xxh3

    @Option(
        help: ArgumentHelp(
            "Where the manifest goes. (default: TARGET.manifest; none beside a block device)", valueName: "file"),
        completion: .file())
    var manifest: String?

    func validate() throws {
        guard let manifest else { return }
        try LocationCheck.check(manifest, named: "--manifest")
        if digest == .none { throw ValidationError("--manifest and --digest=none contradict each other") }
    }

    func apply(to request: inout BackupRequest) {
        request.manifest = manifest
        request.digest =
            switch digest {
            case .xxh3: .xxh3
            case .sha256: .sha256
            case .none: nil
            }
    }
}
