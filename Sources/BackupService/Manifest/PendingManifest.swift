// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Qcow2Format

/// A manifest that may still have the name under which it was written, although its backup has its own: the run was ended
/// between the two. Whatever looks for the manifest next puts it in place.
struct PendingManifest {
    /// The file of the backup, behind all symbolic links.
    let image: String
    /// Where its manifest belongs.
    let path: String

    private var partialPath: String { path + FilePlace.partialSuffix }

    /// Gives the manifest its name, if there is one that waits for that.
    ///
    /// - Returns: where the image's manifest is: at its place, or where it waits if it can't be renamed.
    func settle() async -> String {
        guard let pending = await pending() else { return path }
        // While it was read, its run or another may have put something else there.
        guard (try? FileStatus(path: partialPath, followsLink: false))?.identity == pending else { return path }
        // What has the place is another backup's, whose file is gone; or somebody's file, and none of ours to replace.
        guard await isReplaceable() else { return partialPath }
        guard NameCalls.current.rename(partialPath, path) == nil else { return partialPath }
        _ = NameCalls.current.syncFolder(FilePlace(path: path).folder)
        return path
    }

    /// The file of a whole manifest that nobody writes to, and that is this backup's while the one in place is not.
    private func pending() async -> StorageIdentity? {
        guard let status = try? FileStatus(path: partialPath, followsLink: false), status.kind == .regular,
            // Else others could slip in theirs, where many write to a folder.
            let owner = try? FileStatus(path: image), status.owner == owner.owner,
            let device = try? LocalStorage.open(partialPath, access: .readOnly, lock: nil), !device.isWrittenByOther
        else { return nil }
        let file = ManifestFile(path: partialPath)
        guard let header = try? await file.header(), await isOfImage(header),
            (try? await ManifestFile(path: path).header())?.id != header.id, (try? await file.sealedHeader()) != nil
        else { return nil }
        return device.identity
    }

    private func isReplaceable() async -> Bool {
        guard (try? FileStatus(path: path, followsLink: false)) != nil else { return true }
        guard let file = try? LocalStorage.open(path, access: .readOnly, lock: nil) else { return false }
        return await ManifestPlace.isManifest(file)
    }

    private func isOfImage(_ header: ManifestHeader) async -> Bool {
        if header.target.format == ImageFormat.raw.rawValue {
            guard let stamp = FileStamp(path: image) else { return false }
            return header.target.length == stamp.length && header.target.modified == stamp.modified
        }
        guard let file = try? LocalStorage.open(image, access: .readOnly, lock: nil),
            let id = (try? await Qcow2File(file, forInspection: true))?.identity?.id
        else { return false }
        return header.id == id.description
    }
}
