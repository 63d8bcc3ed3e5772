// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import DiskChain
import Qcow2Format

extension SourceBitmap {
    /// What is there under a name.
    enum Found {
        case usable(DirtyBitmap)
        case unusable(reason: String, isMissing: Bool)
    }

    /// Looks for a bitmap, and whether it can be relied on for what a request says.
    static func find(
        _ name: String, _ request: BackupRequest, in bitmaps: PersistentBitmaps, of image: String,
        backingStamp: UInt64
    ) async throws(ServiceError) -> Found {
        guard let found = bitmaps[name] else {
            let names = bitmaps.list.map { "'\($0.name)'" }.joined(separator: ", ")
            return .unusable(
                reason: "\(image) has no bitmap '\(name)'" + (names.isEmpty ? "" : "; it has \(names)"), isMissing: true
            )
        }
        let subject = "bitmap '\(name)' of \(image)"
        if let defect = found.defect { return .unusable(reason: "\(subject) \(defect.summary)", isMissing: false) }
        if let granularity = request.granularity, found.granularity != granularity {
            return .unusable(
                reason: "\(subject) has a granularity of \(found.granularity) bytes, not \(granularity)",
                isMissing: false)
        }
        if !found.isRecording {
            return .unusable(
                reason: "\(subject) is disabled: changes since then are missing from it", isMissing: false)
        }
        if request.sync.isIncrement, !request.trustsChain, let origin = bitmaps.origin(of: name) {
            if origin.wasDisabled {
                return .unusable(
                    reason: "\(subject) was disabled for a while: changes made then may be missing from it "
                        + "(--trust-chain takes it as it is)",
                    isMissing: false)
            }
            guard origin.backingStamp != backingStamp else { return try await load(name, of: bitmaps) }
            return .unusable(
                reason: "the files behind \(image) have changed since \(subject) was cleared, which it does not tell "
                    + "(--trust-chain takes them as they are)",
                isMissing: false)
        }
        return try await load(name, of: bitmaps)
    }

    private static func load(_ name: String, of bitmaps: PersistentBitmaps) async throws(ServiceError) -> Found {
        do throws(BlockError) {
            return .usable(try await bitmaps.load(name))
        } catch {
            let failure = ServiceError(error)
            guard failure.code == .corrupt else { throw failure }
            return .unusable(reason: failure.message, isMissing: false)
        }
    }

    /// What a bitmap that is going to be made says.
    static func cleanBits(
        _ granularity: UInt64?, for disk: OpenedDisk
    ) async throws(ServiceError) -> DirtyBitmap {
        let clusterLength = try await translated { () async throws(BlockError) in
            try await disk.device.clusterSize()
        }
        do throws(DirtyBitmapError) {
            return try DirtyBitmap(
                length: disk.device.length,
                granularity: granularity ?? DirtyBitmap.defaultGranularity(clusterSize: clusterLength))
        } catch {
            throw ServiceError(.usage, "\(error)")
        }
    }

    /// What to say where an image's bitmaps can't be opened.
    static func unopened(_ error: BlockError) -> ServiceError {
        let failure = ServiceError(error)
        guard failure.code == .corrupt else { return failure }
        return ServiceError(
            .corrupt, failure.message,
            advice: "qcowbackup check -r all may mend it; a full backup without --bitmap can be made")
    }
}

extension BitmapDefect {
    /// The defect without what to do about it.
    fileprivate var summary: String {
        switch self {
        case .inconsistent: "is inconsistent: it is marked in use, so changes of the disk may be missing from it"
        case .unknownExtraData: "has extra data of an unknown kind and must not be used"
        }
    }
}
