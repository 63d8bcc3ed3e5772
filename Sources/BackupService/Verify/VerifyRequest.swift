// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import Qcow2Format

/// Which backups to prove, and how thoroughly.
package struct VerifyRequest: Sendable {
    /// How much of the content to read.
    package enum Extent: Sendable, Equatable {
        case everything
        /// The structure alone.
        case nothing
        /// A share of the ranges, chosen anew each time: above 0, below 1.
        case sample(Double)
    }

    /// The backups; their chains are proven with them.
    package var backups: [String]
    package var extent = Extent.everything
    /// For how long to go on; the next run goes on from there. `nil` for as long as it takes.
    package var duration: Duration?
    /// A disk that must read as the backup does; `nil` for none.
    package var source: String?
    /// The manifest of the only backup; `nil` for the one beside it.
    package var manifest: String?
    /// Format of the backups; `nil` for what their manifests say, or else recognises it.
    package var format: ImageFormat?
    package var backingFormat: ImageFormat?
    /// Folder in which the files of the chains are; `nil` for where the images say.
    package var chainFolder: String?
    package var forceShare = false
    /// Parallel workers; `nil` chooses by the number of processors.
    package var workers: Int?

    package init(backups: [String]) {
        self.backups = backups
    }
}

extension VerifyRequest {
    /// Refuses what contradicts itself.
    package func check() throws(ServiceError) {
        if backups.count != 1 {
            if manifest != nil { throw ServiceError(.usage, "--manifest goes with one backup") }
            if source != nil { throw ServiceError(.usage, "--against goes with one backup") }
        }
        if case .sample(let share) = extent, !(share > 0 && share < 1) {
            throw ServiceError(.usage, "a sample is more than 0% and less than 100%")
        }
        if extent == .nothing, duration != nil || source != nil || manifest != nil {
            throw ServiceError(.usage, "--structure looks at no content, which the other options are about")
        }
    }
}
