// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// Which backups to prove, and how thoroughly.
public struct VerifyRequest: Sendable {
    /// How much of the content to read.
    public enum Extent: Sendable, Equatable {
        case everything
        /// The structure alone.
        case nothing
        /// A share of the ranges, chosen anew each time: above 0, below 1.
        case sample(Double)
    }

    /// The backups; their chains are proven with them.
    public var backups: [String]
    public var extent = Extent.everything
    /// For how long to go on; the next run goes on from there. `nil` for as long as it takes.
    public var duration: Duration?
    /// A disk that must read as the backup does; `nil` for none.
    public var source: String?
    /// The manifest of the only backup; `nil` for the one beside it.
    public var manifest: String?
    /// Format of the backups; `nil` for what their manifests say, or else recognises it.
    public var format: ImageFormat?
    public var backingFormat: ImageFormat?
    /// Folder in which the files of the chains are; `nil` for where the images say.
    public var chainFolder: String?
    public var forceShare = false
    /// Parallel workers; `nil` chooses by the number of processors.
    public var workers: Int?

    public init(backups: [String]) {
        self.backups = backups
    }
}
