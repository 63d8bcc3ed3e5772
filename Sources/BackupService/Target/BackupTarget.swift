// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format

/// A target while it is being written: nothing opens it as a disk before it is finished and published.
struct BackupTarget: Sendable {
    /// What the job writes to.
    let device: any BlockDevice
    /// Which backup it is; `nil` for a format that can't say.
    let identity: BackupIdentity?
    /// Holds back the first bytes until everything else is on stable storage.
    private let head: HeadLastDevice
    private let image: Qcow2Image?
    private let dataHead: HeadLastDevice?
    /// New files, in the order in which they get their names: what others refer to comes first.
    private let newFiles: [UnnamedFile]
    /// The target's own file; `nil` for what is no file.
    private let file: FileDevice?

    init(
        device: any BlockDevice, identity: BackupIdentity? = nil, head: HeadLastDevice, image: Qcow2Image?,
        dataHead: HeadLastDevice? = nil, newFiles: [UnnamedFile] = [], file: FileDevice?
    ) {
        self.device = device
        self.identity = identity
        self.head = head
        self.image = image
        self.dataHead = dataHead
        self.newFiles = newFiles
        self.file = file
    }

    /// Length in bytes of the file that was written; `nil` for block devices.
    var fileLength: UInt64? { file?.kind == .regular ? file?.length : nil }

    /// Whether it has its name already, and is whole once it is finished; else only once it is published.
    var isInPlace: Bool { newFiles.isEmpty }

    /// Makes the target complete and durable. New files have not got their names yet.
    func finish() async throws(ServiceError) {
        do throws(BlockError) {
            try await image?.close()
            try await dataHead?.commit()
            try await head.commit()
        } catch {
            throw ServiceError(error)
        }
    }

    /// Refuses names that lead to other files by now than those to replace.
    func checkNames() throws(ServiceError) {
        for file in newFiles { try file.place.checkReplaced() }
    }

    /// Gives new files their names.
    func publish() throws(ServiceError) {
        // Before the first step, so that none has to be undone.
        try checkNames()
        // An old image must not be found with the new image's data file.
        if let image = newFiles.last, newFiles.dropLast().contains(where: { $0.place.replaced != nil }) {
            try image.place.clear()
        }
        for (index, file) in newFiles.enumerated() {
            do throws(ServiceError) {
                try file.place.publish()
            } catch {
                // What nothing refers to is of no use.
                for earlier in newFiles[..<index] { try? earlier.place.clear() }
                throw error
            }
        }
    }

    /// Removes new files. A target that existed before stays marked unfinished.
    func discard() {
        for file in newFiles { file.remove() }
    }
}
