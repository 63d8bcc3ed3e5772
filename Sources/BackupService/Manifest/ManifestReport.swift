// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import Qcow2Format

/// A manifest that lies beside an image, and how far the image has been proven by it.
public struct ManifestReport: Sendable, Equatable {
    public var path: String
    public var state: ManifestState
    public var proof: ProofRecord

    init(path: String, state: ManifestState, proof: ProofRecord) {
        self.path = path
        self.state = state
        self.proof = proof
    }

    /// - Parameters:
    ///   - id: which backup the image says it is; `nil` where it says nothing.
    ///   - virtualSize: bytes of its disk.
    /// - Returns: `nil` where there is no manifest beside it.
    init?(besides image: FileDevice, id: BackupID?, virtualSize: UInt64) async {
        guard let file = try? ManifestFile(besides: image.name), file.exists else { return nil }
        path = file.path
        state = await ManifestState(file).checked(ofImage: id, virtualSize: virtualSize)
        proof = ProofRecord()
        if let header = state.header,
            let place = try? ManifestPlace.path(besides: image.name, suffix: VerifyState.suffix)
        {
            proof = ProofRecord(await VerifyState(path: place), of: header, in: image.stamp)
        }
    }
}
