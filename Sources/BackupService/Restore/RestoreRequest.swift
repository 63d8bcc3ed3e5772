// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// Which backup to restore, where to, and how.
///
/// Copying a backup is copying a disk: what that takes is a `BackupRequest`, whose source is the backup.
public struct RestoreRequest: Sendable {
    /// How the disk is copied. Its `sync` and `targetFormat` don't count: all that the backup and its chain show is
    /// written, in `targetFormat` of this request.
    public var copy: BackupRequest
    /// `nil` for what fits the target: raw for a block device, qcow2 for all else.
    public var targetFormat: ImageFormat?
    /// The folder where the files are that the backup and its chain name; `nil` for where they say.
    public var chainFolder: String?
    /// Prove what is read by the backups' manifests, as far as there are any.
    public var verifies = true

    public init(source: String, target: String) {
        copy = BackupRequest(source: source, target: target)
    }
}
