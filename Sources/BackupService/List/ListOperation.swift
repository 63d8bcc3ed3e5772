// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest

/// One run of the list command.
///
/// Of each file only the head is read, and nothing is locked, so that running backups aren't disturbed. Nothing changes,
/// but for the name of a manifest whose run was ended before it could give it. No file outside
/// the folder is opened, whatever the images name.
package struct ListOperation: Sendable {
    private let folder: String
    private let warn: @Sendable (String) -> Void

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    package init(folder: String, warn: @escaping @Sendable (String) -> Void) {
        self.folder = folder
        self.warn = warn
    }

    /// - Throws: `ServiceError` where the folder can't be read. What can't be read in it is part of the result.
    package func run() async throws(ServiceError) -> BackupFolder {
        try await Inspection.run { () async throws(ServiceError) in
            try await settleManifests(FolderListing(path: folder))
            var listing = try FolderListing(path: folder)
            var result = await list(listing)
            // A backup that got its name meanwhile is no damage.
            for _ in 0..<Self.retries where listing.isOutdated {
                listing = try FolderListing(path: folder)
                result = await list(listing)
            }
            for name in listing.illegibleNames {
                warn("\(folder): a file is passed over whose name is not UTF-8 text: \(name)")
            }
            return result
        }
    }

    /// Puts manifests in place whose runs were ended before they could.
    private func settleManifests(_ listing: FolderListing) async {
        for entry in listing.entries where entry.hasSuffix(Manifest.suffix + FilePlace.partialSuffix) {
            let place = String(entry.path.dropLast(FilePlace.partialSuffix.count))
            let image = String(place.dropLast(Manifest.suffix.count))
            _ = await PendingManifest(image: image, path: place).settle()
        }
    }

    /// How often a folder is listed again that changes meanwhile.
    private static let retries = 3

    private func list(_ listing: FolderListing) async -> BackupFolder {
        let entries = Dictionary(listing.entries.map { ($0.key, $0) }) { one, _ in one }
        let reader = NodeReader(entries)
        var images: [NodeReader.ReadNode] = []
        var strays = listing.strays
        for entry in listing.entries {
            switch await reader.finding(entry) {
            case .image(let image): images.append(image)
            case .stray(let stray): strays.append(stray)
            case .other: break
            }
        }
        var links = ParentLinks(images, entries, reader)
        await links.resolve()
        // What is in the trees is not left over.
        let used = Set(links.images.map { Array($0.node.name.utf8) })
        strays.removeAll { used.contains(Array($0.name.utf8)) && $0.kind == .unreadable }
        strays.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        return BackupFolder(path: folder, nodes: ChainOrder(links.images.map(\.node)).nodes, strays: strays)
    }
}
