// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Qcow2Format

/// Proves a backup and its chain by their manifests while they are read.
struct ChainProof: Sendable {
    /// What to read instead of the disk itself.
    let device: any BlockDevice
    /// How much can be proven.
    let extent: BackupSummary.Proof

    /// - Parameters:
    ///   - backup: the path of the top layer.
    ///   - trustsChain: go on also where a file is another than that on which the one before it was made.
    ///   - warn: called for manifests that are there and can't be used.
    init(of disk: OpenedDisk, named backup: String, trustsChain: Bool, warn: (String) -> Void)
        async throws(ServiceError)
    {
        let chain: VerifiedChain
        do throws(ServiceError) {
            chain = try await VerifiedChain(disk, own: await ManifestFile(besides: backup), usesManifests: true)
        } catch {
            guard error.code == .io, error.advice == nil else { throw error }
            throw error.advising("--no-verify restores what nothing proves")
        }
        for layer in chain.layers {
            if case .unusable(let reason) = layer.manifest { warn("\(reason): \(layer.path) is restored unproven") }
            guard let problem = layer.problems.first else { continue }
            guard trustsChain else {
                throw ServiceError(
                    .inconsistent, "\(layer.path) by its manifest: \(problem)",
                    advice: "bring the right file back; --trust-chain takes it as it is")
            }
            warn("\(layer.path) by its manifest: \(problem)")
        }
        // What shows through a file without a manifest may be anything that this one holds.
        let provenCount = chain.proofs.prefix { $0 != nil }.count
        device = provenCount == 0 ? disk.device : VerifyingDevice(disk.device, layers: chain.proofs)
        // Nor is what lies behind the end of the disk that was written.
        let isLonger =
            chain.proofs.first.flatMap { $0 }.map { $0.digests.geometry.virtualSize < disk.device.length } ?? false
        extent = provenCount == 0 ? .none : provenCount == chain.proofs.count && !isLonger ? .all : .part
    }
}
