// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupCore
import BackupService

/// The value of `--sync`. The backup job's other mode is known by name, so that it can be refused with a reason.
enum SyncArgument: String, CaseIterable, ExpressibleByArgument {
    case full
    case top
    case none
    case incremental
    case bitmap

    static var allValueStrings: [String] {
        allCases.filter { $0 != .none }.map(\.rawValue)
    }

    static var defaultCompletionKind: CompletionKind {
        .list(allValueStrings)
    }

    /// - Throws: `ValidationError` for a mode that this version doesn't have.
    func mode() throws -> SyncMode {
        switch self {
        case .full: return .full
        case .top: return .top
        case .none:
            throw ValidationError(
                "--sync=none copies what a guest overwrites, and offline there is none: use full or top")
        case .incremental: return .incremental
        case .bitmap: return .bitmap
        }
    }
}
