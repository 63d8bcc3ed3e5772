// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import Qcow2Format

/// A manifest that lies beside an image, and how far the image has been proven by it.
package struct ManifestReport: Sendable, Equatable {
    package var path: String
    package var state: ManifestState
    package var proof: ProofRecord

    init(path: String, state: ManifestState, proof: ProofRecord) {
        self.path = path
        self.state = state
        self.proof = proof
    }

    /// - Parameters:
    ///   - file: of the image.
    ///   - image: what is in it; `nil` for a raw disk.
    ///   - virtualSize: bytes of its disk.
    /// - Returns: `nil` where there is no manifest beside it.
    init?(besides file: any Storage, _ image: Qcow2File?, virtualSize: UInt64) async {
        let files = StoredFiles(file, image)
        let name = file.name
        guard let file = try? await ManifestFile(besides: name), file.exists else { return nil }
        path = file.path
        state = await ManifestState(file).checked(
            ofImage: image?.identity?.id, virtualSize: virtualSize, isRaw: image == nil)
        proof = ProofRecord()
        if let header = state.header,
            let place = try? ManifestPlace.path(besides: name, suffix: VerifyState.suffix)
        {
            proof = ProofRecord(await VerifyState(path: place), of: header, in: files)
        }
    }
}
