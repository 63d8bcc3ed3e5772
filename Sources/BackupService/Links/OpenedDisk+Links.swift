// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Qcow2Format

extension OpenedDisk {
    /// What is wrong with the link between a layer and the one below it, if there is one.
    ///
    /// - Parameters:
    ///   - manifests: of the layers, as far as they are known; `nil` for one without.
    func linkFault(of index: Int, manifests: [ManifestHeader?]) -> LinkFault? {
        let layer = layers[index]
        let link = ParentLink(
            name: layer.image?.references.backingFileName, header: layer.identity?.parent,
            manifest: index < manifests.count ? manifests[index]?.parent : nil, path: layer.path)
        guard index + 1 < layers.count else { return link.fault(nil) }
        let below = layers[index + 1]
        let manifest = index + 1 < manifests.count ? manifests[index + 1] : nil
        return link.fault(
            ParentLink.Below(
                id: below.identity?.id.description ?? manifest?.id,
                name: try? ServicePath.recorded(below.path, isFixed: below.file.isFixed),
                virtualSize: lengths[index + 1],
                content: manifest?.content))
    }

    /// Refuses a chain in which a file is another one than that on which the one before it was made, as far as they say.
    ///
    /// - Throws: `ServiceError` with the code `inconsistent`.
    func checkLinks() throws(ServiceError) {
        for (index, layer) in layers.enumerated().dropLast() {
            guard let fault = linkFault(of: index, manifests: []) else { continue }
            throw ServiceError(
                .inconsistent, "\(layer.path) \(fault.message(parent: layers[index + 1].path))",
                advice: "bring the right file back; --trust-chain takes it as it is")
        }
    }
}
