// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Qcow2Format

/// The files of a backup's chain with their manifests, and whether they belong together.
struct VerifiedChain {
    /// Top first.
    var layers: [VerifiedLayer] = []
    /// What proves each; `nil` where nothing does.
    private(set) var proofs: [LayerProof?] = []
    /// What the manifest of each says; `nil` where it has none that proves it.
    private(set) var manifests: [ManifestHeader?] = []
    private let identities: [StorageIdentity]

    /// - Parameters:
    ///   - own: the manifest of the top layer.
    ///   - usesManifests: whether there is more to look at than the structure.
    init(_ disk: OpenedDisk, own: ManifestFile, usesManifests: Bool) async throws(ServiceError) {
        identities = disk.layers.map(\.file.identity)
        var manifests: [Manifest?] = []
        for (index, layer) in disk.layers.enumerated() {
            let file = index == 0 ? own : try await ManifestFile(besides: layer.path)
            var verified = VerifiedLayer(path: layer.path, manifest: usesManifests ? .missing : .notUsed)
            var manifest: Manifest?
            if usesManifests, file.exists {
                do throws(ServiceError) {
                    manifest = try await Self.manifest(in: file, of: index, in: disk)
                    verified.manifest = .used(path: file.path, content: manifest?.header.content ?? "")
                } catch {
                    // Storage that fails, or a process that may open no more files, says nothing of the manifest.
                    if error.code == .cancelled || error.code == .io { throw error }
                    verified.manifest = .unusable(error.message)
                    // A raw file has nothing but its length to show that it was cut off.
                    if layer.format == .raw, error.code == .inconsistent, await Self.isOfRaw(file) {
                        verified.problems.append("it was cut off: it is shorter than the disk that was written")
                    }
                }
            }
            manifests.append(manifest)
            layers.append(verified)
            // Nothing shows through a backup that holds the whole disk, whatever it is laid over.
            if let manifest, manifest.digests.isWhole { break }
        }
        checkLinks(&manifests, disk)
        self.manifests = manifests.map { $0?.header }
        var device: (any BlockDevice)? = disk.device
        for (index, manifest) in manifests.enumerated() {
            proofs.append(manifest.flatMap { Self.proof(of: disk.layers[index], device, $0.digests) })
            device = device?.backing
        }
    }

    /// Whether a manifest is that of a raw file, and not of an image that is read as one.
    private static func isOfRaw(_ file: ManifestFile) async -> Bool {
        (try? await file.header())?.target.format == ImageFormat.raw.rawValue
    }

    private static func proof(
        of layer: OpenedDisk.Layer, _ device: (any BlockDevice)?, _ digests: ContentDigests
    ) -> LayerProof? {
        guard let device else { return nil }
        let length = digests.geometry.virtualSize
        // What lies behind the end of the backup belongs to somebody else. Only a raw file can be longer.
        return LayerProof(
            device.length == length ? device : LimitedDevice(layer.file, length: length), digests: digests)
    }

    /// Refuses the manifest of another backup.
    private static func manifest(
        in file: ManifestFile, of index: Int, in disk: OpenedDisk
    ) async throws(ServiceError) -> Manifest {
        let layer = disk.layers[index]
        let isRaw = layer.format == .raw
        let manifest = try await file.manifest(virtualSize: isRaw ? nil : disk.lengths[index])
        // A block device is as long as it is, whatever the disk that was copied to it. The file itself counts: as a disk it
        // may end in a part of a sector.
        let length = manifest.header.virtualSize
        guard disk.lengths[index] == length || (isRaw && layer.file.length >= length) else {
            throw ServiceError(
                .inconsistent,
                "\(file.path) is of a disk of \(manifest.header.virtualSize) bytes, and \(layer.path) has "
                    + "\(disk.lengths[index])")
        }
        if let id = layer.identity?.id.description, manifest.header.id != id {
            throw ServiceError(
                .inconsistent,
                "\(file.path) is the manifest of another backup: of "
                    + "\(ManifestState.short(manifest.header.target.name)), made as "
                    + ManifestState.short(manifest.header.id))
        }
        return manifest
    }

    /// Finds layers that lie on something else than when they were made.
    private mutating func checkLinks(_ manifests: inout [Manifest?], _ disk: OpenedDisk) {
        // From below: a manifest that proves nothing any more says nothing to the layer above either.
        for index in layers.indices.reversed() {
            let headers = manifests.map { $0?.header }
            guard let fault = disk.linkFault(of: index, manifests: headers) else { continue }
            let message = fault.message(parent: index + 1 < disk.layers.count ? disk.layers[index + 1].path : "nothing")
            if case .rebased = fault {
                manifests[index] = nil
                layers[index].manifest = .unusable("it \(message)")
            } else {
                layers[index].problems.append("it \(message)")
            }
        }
    }

    /// What was looked at: a file, by one manifest.
    struct Subject: Hashable {
        let file: StorageIdentity
        /// `nil` where nothing proves it.
        let content: String?
    }

    /// A layer as what is looked at only once, whatever the chains.
    func subject(of index: Int) -> Subject {
        Subject(file: identities[index], content: manifests[index].map { "\($0.id) \($0.content)" })
    }

    /// Number of ranges of the layers that were not looked at yet and can be proven.
    func unseen(_ seen: some Collection<Subject>) -> [UInt64] {
        layers.indices.compactMap { index in
            seen.contains(subject(of: index)) ? nil : proofs[index]?.digests.geometry.rangeCount
        }
    }
}

extension VerifiedLayer {
    /// Takes over what was found in the same file for another chain. What doesn't fit this chain stays.
    mutating func adopt(_ other: VerifiedLayer) {
        wasSeen = other.wasSeen
        structureProblems = other.structureProblems
        checkedRanges = other.checkedRanges
        (checkedLength, length) = (other.checkedLength, other.length)
        rangeCount = other.rangeCount
        isComplete = other.isComplete
        (bad, unseenBad, hasChanged) = (other.bad, other.unseenBad, other.hasChanged)
    }
}
