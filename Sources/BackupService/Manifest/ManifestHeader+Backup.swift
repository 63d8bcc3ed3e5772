// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupManifest
import BlockIO
import DiskChain
import Qcow2Format

extension ManifestHeader.Source {
    init(_ disk: OpenedDisk, snapshot: String?) {
        let layer = disk.layers[0]
        self.init(
            path: ServicePath.absolute(layer.path), format: layer.format.rawValue, snapshot: snapshot,
            length: layer.file.length, modified: layer.file.stamp?.modified)
    }
}

extension ManifestHeader.Parent {
    /// What a backup is based on: an increment on its parent, and with `top` on the source's backing file.
    ///
    /// - Returns: `nil` for a backup that stands alone.
    init?(_ plan: BackupPlan, _ request: BackupRequest) async {
        if let parent = plan.parent {
            let layer = parent.disk.layers[0]
            await self.init(layer, name: parent.name, virtualSize: parent.disk.device.length)
        } else if plan.sync == .top, let backing = plan.source.backing,
            let name = try? BackingName(request).name(of: backing)
        {
            await self.init(backing, name: name, virtualSize: plan.source.lengths[1])
        } else {
            return nil
        }
    }

    private init(_ layer: OpenedDisk.Layer, name: String, virtualSize: UInt64) async {
        let id = layer.identity?.id.description
        // A parent without a manifest is none that can be proven, and that is for whoever proves it to say.
        let header = try? await ManifestFile(besides: layer.path).sealedHeader()
        let isIts = header.map { id == nil || $0.id == id } ?? false
        self.init(
            name: name, id: id ?? header?.id, virtualSize: virtualSize, content: isIts ? header?.content : nil)
    }
}
