// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import Qcow2Format

/// The files of a backup's chain with their manifests, and whether they belong together.
struct VerifiedChain {
    /// Top first.
    var layers: [VerifiedLayer] = []
    /// What proves each; `nil` where nothing does.
    private(set) var proofs: [LayerProof?] = []
    private let identities: [FileIdentity]

    /// - Parameters:
    ///   - own: the manifest of the top layer.
    ///   - usesManifests: whether there is more to look at than the structure.
    init(_ disk: OpenedDisk, own: ManifestFile, usesManifests: Bool) async throws(ServiceError) {
        identities = disk.layers.map(\.file.identity)
        var headers: [ManifestHeader?] = []
        var device: (any BlockDevice)? = disk.device
        for (index, layer) in disk.layers.enumerated() {
            let file = index == 0 ? own : try ManifestFile(besides: layer.path)
            var verified = VerifiedLayer(path: layer.path, manifest: usesManifests ? .missing : .notUsed)
            var manifest: Manifest?
            if usesManifests, file.exists {
                do throws(ServiceError) {
                    manifest = try await file.manifest(virtualSize: disk.lengths[index])
                    try Self.check(manifest, in: file, of: index, in: disk)
                    verified.manifest = .used(path: file.path, content: manifest?.header.content ?? "")
                } catch {
                    manifest = nil
                    verified.manifest = .unusable(error.message)
                    // A raw file has nothing but its length to show that it was cut off.
                    if layer.format == .raw, error.code == .inconsistent {
                        verified.problems.append("its length is not that of the disk that was written")
                    }
                }
            }
            headers.append(manifest?.header)
            if let manifest, let device {
                proofs.append(LayerProof(device, digests: manifest.digests))
            } else {
                proofs.append(nil)
            }
            layers.append(verified)
            // Nothing shows through a backup that holds the whole disk, whatever it is laid over.
            if let manifest, manifest.digests.layer == nil { break }
            device = device?.backing
        }
        checkLinks(headers, disk)
    }

    /// Refuses the manifest of another backup, and of one that was put on another file since: it may hold what it didn't.
    private static func check(
        _ manifest: Manifest?, in file: ManifestFile, of index: Int, in disk: OpenedDisk
    ) throws(ServiceError) {
        guard let header = manifest?.header else { return }
        let layer = disk.layers[index]
        if let id = layer.identity?.id.description, header.id != id {
            throw ServiceError(
                .inconsistent,
                "\(file.path) is the manifest of another backup: of \(ManifestState.short(header.target.name)), "
                    + "made as \(ManifestState.short(header.id))")
        }
        guard let parent = header.parent, layer.image?.references.backingFileName != parent.name else { return }
        // Another name of the same backup is no change.
        if index + 1 < disk.layers.count {
            let below = disk.layers[index + 1]
            if let id = parent.id, below.identity?.id.description == id { return }
            if try ServicePath.recorded(below.path, kind: below.file.kind) == parent.name { return }
        }
        throw ServiceError(
            .inconsistent,
            "\(layer.path) was put on another file since its manifest was made: then it was based on "
                + ManifestState.short(parent.name))
    }

    /// Finds links that were replaced: a parent that is another backup than the one that was recorded.
    private mutating func checkLinks(_ headers: [ManifestHeader?], _ disk: OpenedDisk) {
        for index in layers.indices.dropLast() {
            let below = disk.layers[index + 1]
            let expectedID = headers[index]?.parent?.id ?? disk.layers[index].identity?.parent?.id?.description
            let foundID = below.identity?.id.description ?? headers[index + 1]?.id
            if let expectedID, let foundID, expectedID != foundID {
                layers[index].problems.append(
                    "it was made on another backup than \(below.path): that one was replaced")
            } else if let expected = headers[index]?.parent?.content, let found = headers[index + 1]?.content,
                expected != found
            {
                layers[index].problems.append("\(below.path) holds something else than when this one was made")
            }
            let size = headers[index]?.parent?.virtualSize ?? disk.layers[index].identity?.parent?.virtualSize
            if let size, size != disk.lengths[index + 1] {
                layers[index].problems.append(
                    "it was made on a disk of \(size) bytes, and \(below.path) has \(disk.lengths[index + 1])")
            }
        }
    }

    /// Number of ranges of the layers that were not looked at yet and can be proven.
    func unseen(_ seen: some Collection<FileIdentity>) -> [UInt64] {
        zip(identities, proofs).compactMap { (identity, proof) in
            seen.contains(identity) ? nil : proof?.digests.geometry.rangeCount
        }
    }
}

extension VerifiedLayer {
    /// Takes over what was found in the same file for another chain. What doesn't fit this chain stays.
    mutating func adopt(_ other: VerifiedLayer) {
        structureProblems = other.structureProblems
        checkedRanges = other.checkedRanges
        rangeCount = other.rangeCount
        isComplete = other.isComplete
        bad = other.bad
    }
}
