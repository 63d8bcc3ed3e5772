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
    let newFiles: [UnnamedFile]
    /// What is written: the target itself first, then its data file.
    private let files: [any Storage]

    init(
        device: any BlockDevice, identity: BackupIdentity? = nil, head: HeadLastDevice, image: Qcow2Image?,
        dataHead: HeadLastDevice? = nil, newFiles: [UnnamedFile] = [], files: [any Storage]
    ) {
        self.device = device
        self.identity = identity
        self.head = head
        self.image = image
        self.dataHead = dataHead
        self.newFiles = newFiles
        self.files = files
    }

    /// Length in bytes of the file that was written; `nil` for block devices.
    var fileLength: UInt64? { files.first.flatMap { $0.isFixed ? nil : $0.length } }

    /// The raw disk that is written, in a file of its own, as it is now; `nil` for all else.
    var rawStamp: FileStamp? {
        image == nil ? newFiles.first.flatMap { FileStamp(path: $0.place.partialPath) } : nil
    }

    /// Whether it has its name already, and is whole once it is finished; else only once it is published.
    var isInPlace: Bool { newFiles.isEmpty }

    /// Makes the target complete and durable, and closes it. New files have not got their names yet.
    func finish() async throws(ServiceError) {
        try await translated { () async throws(BlockError) in
            try await image?.close()
            try await dataHead?.commit()
            try await head.commit()
        }
        do throws(ServiceError) {
            if isInPlace { try close() } else { for file in newFiles { try file.close() } }
        } catch {
            if isInPlace, !(await spoil()) {
                throw ServiceError(
                    error.code, "\(error.message); and it could not be marked as unfinished",
                    advice: "make the backup again: what is there may look whole, and not be")
            }
            throw error
        }
    }

    private func close() throws(ServiceError) {
        // All of them, so that none stays locked when they are to be marked.
        let errors = files.map(NameCalls.current.close)
        if let error = errors.compactMap(\.self).first { throw ServiceError(notArrived: error) }
    }

    /// Marks as unfinished what looks whole, and may not be. It was closed, so its name may lead to another file by now,
    /// and somebody else may use it.
    ///
    /// - Returns: whether all of it is marked.
    private func spoil() async -> Bool {
        await Cancellation.ignoring { () async -> Bool in
            var isMarked = true
            for closed in files {
                guard let file = try? LocalStorage.open(closed.name, access: .readWrite, lock: .writable),
                    file.identity == closed.identity, (try? await HeadLastDevice(file).wipe()) != nil,
                    (try? file.close()) != nil
                else {
                    isMarked = false
                    continue
                }
            }
            return isMarked
        }
    }

    /// Removes new files. A target that existed before stays marked unfinished.
    func discard() {
        for file in newFiles { file.remove() }
    }
}
