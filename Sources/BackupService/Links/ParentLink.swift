// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import DiskChain
import Qcow2Format

/// What a backup records of the one that it was made on: in its header, and in its manifest.
struct ParentLink {
    /// What is known of the file that lies below a backup now.
    struct Below {
        /// Which backup it is; `nil` where it doesn't say.
        var id: String?
        /// The name by which a backup would record it; `nil` where that can't be told.
        var name: String?
        /// In bytes; `nil` where it can't be read.
        var virtualSize: UInt64?
        /// Root digest of its content; `nil` where it has no manifest.
        var content: String?
    }

    /// The backing file's name; `nil` for an image that stands alone.
    private let name: String?
    private let header: BackupIdentity.Parent?
    private let manifest: ManifestHeader.Parent?
    /// The backup itself, behind all symbolic links; `nil` where that is not known.
    private let path: String?

    /// - Parameters:
    ///   - name: the backing file as the image records it.
    ///   - header: what the image's header says of its parent.
    ///   - manifest: what the backup's own manifest says of it.
    ///   - path: where the backup is: relative names start in its folder.
    init(name: String?, header: BackupIdentity.Parent?, manifest: ManifestHeader.Parent?, path: String? = nil) {
        self.init(
            name: name, header: header, manifest: manifest, folderOf: path.flatMap { try? ServicePath.resolved($0) })
    }

    /// - Parameter resolved: where the backup is, behind all symbolic links.
    init(name: String?, header: BackupIdentity.Parent?, manifest: ManifestHeader.Parent?, folderOf resolved: String?) {
        path = resolved
        self.name = name
        self.header = header
        self.manifest = manifest
    }

    /// Finds out whether a file is what the backup was made on.
    ///
    /// - Parameter below: what is below it now; `nil` for nothing.
    /// - Returns: `nil` for what nothing speaks against.
    func fault(_ below: Below?) -> LinkFault? {
        if let manifest, isRebased(manifest, below) { return .rebased(from: ManifestState.short(manifest.name)) }
        guard let below else { return nil }
        if let expected = manifest?.id ?? header?.id?.description, let found = below.id, expected != found {
            return .otherBackup
        }
        if let expected = manifest?.content, let found = below.content, expected != found { return .otherContent }
        // A disk that grew behind its end holds all that it did.
        if let expected = manifest?.virtualSize ?? header?.virtualSize, let found = below.virtualSize, found < expected
        {
            return .cutOff(from: expected, to: found)
        }
        return nil
    }

    private func isRebased(_ made: ManifestHeader.Parent, _ below: Below?) -> Bool {
        guard name != made.name else { return false }
        // Another name of the same backup is no change.
        if let below {
            if let id = made.id, below.id == id { return false }
            if let name = below.name, name == path.map({ ImagePath.resolve(made.name, relativeTo: $0) }) ?? made.name {
                return false
            }
        }
        return true
    }
}

/// How what lies below a backup is not what it was made on.
enum LinkFault: Equatable {
    /// The image records another file than its manifest. It may hold what it didn't then: nothing proves it any more.
    case rebased(from: String)
    case otherBackup
    case otherContent
    /// In bytes of the disk.
    case cutOff(from: UInt64, to: UInt64)

    /// What follows the backup's name.
    ///
    /// - Parameter parent: what to call the file below it.
    func message(parent: String) -> String {
        switch self {
        case .rebased(let made): "was put on another file since its manifest was made: then it was based on \(made)"
        case .otherBackup:
            "was made on another backup than \(parent): that one was replaced, or belongs to another chain"
        case .otherContent: "was made when \(parent) held something else"
        case .cutOff(let made, let found):
            "was made on a disk of \(made) bytes, and \(parent) has \(found): it was cut off or replaced"
        }
    }
}
