// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import DirtyBitmaps
import DiskChain
import Qcow2Format

/// What of a request can be judged without looking at a file.
extension BackupRequest {
    /// What becomes of the bitmap, with what the sync mode implies.
    var impliedBitmapMode: BitmapMode { bitmapMode ?? .onSuccess }

    /// Refuses options that contradict each other.
    ///
    /// - Throws: `ServiceError` with the code `usage`.
    package func check() throws(ServiceError) {
        guard sync != .none else {
            throw ServiceError(
                .usage, "--sync=none copies what a guest overwrites, and offline there is none: use full or top")
        }
        guard backingName == .auto || sync != .full else {
            throw ServiceError(
                .usage, "--backing-name is for --sync=top, incremental and bitmap: a full backup has none")
        }
        guard let bitmap else { return try checkWithoutBitmap() }
        if bitmap.isEmpty { throw ServiceError(.usage, "--bitmap: the name is empty") }
        guard bitmap.utf8.count <= NamedBitmap.maximumNameLength else {
            throw ServiceError(
                .usage,
                "--bitmap: the name has \(bitmap.utf8.count) bytes; at most "
                    + "\(NamedBitmap.maximumNameLength) are possible")
        }
        try checkSource()
        try checkMode()
        guard sync.isIncrement else {
            guard parent == nil else { throw Self.parentWithoutIncrement }
            return
        }
        // With a fallback it may be the first night, where there is nothing to go on yet.
        guard parent != nil || fallsBackToFull else { throw parentMissing }
        guard !createsBitmap else {
            throw ServiceError(
                .usage, "--create-bitmap is for --sync=full and top: a new bitmap knows of no changes",
                advice: "--fallback=full makes a full backup where the bitmap is missing")
        }
        guard targetFormat == .qcow2 else {
            throw ServiceError(
                .usage, "-O \(targetFormat.rawValue): an increment is a qcow2 image, which has a backing file")
        }
        guard existingTarget != .reuse else {
            throw ServiceError(
                .usage, "-n writes into an image as it is, and an increment is a new one on top of PARENT",
                advice: "leave -n out; --force replaces a file or a block device")
        }
    }

    /// Refuses to put a full backup, made in place of an increment, on top of what that was to go on.
    func checkFallbackTarget() async throws(ServiceError) {
        guard existingTarget != .refuse else { return }
        try await ParentChain.checkSpared(by: self)
    }

    private func checkWithoutBitmap() throws(ServiceError) {
        if sync.isIncrement { throw ServiceError(.usage, "--sync=\(sync.rawValue) needs --bitmap NAME") }
        let needingBitmap = [
            ("--bitmap-mode", bitmapMode != nil), ("--create-bitmap", createsBitmap),
            ("--granularity", granularity != nil), ("--fallback", fallsBackToFull),
            ("--chain", chainFolder != nil),
        ]
        if let (option, _) = needingBitmap.first(where: \.1) {
            throw ServiceError(.usage, "\(option) needs --bitmap NAME")
        }
        if parent != nil { throw Self.parentWithoutIncrement }
    }

    /// What to say of an increment without anything to go on.
    var parentMissing: ServiceError {
        ServiceError(
            .usage, "--sync=\(sync.rawValue) needs -b PARENT: the backup that the changes go on",
            advice: "name the last one made with this bitmap; --sync=full starts a chain")
    }

    private static let parentWithoutIncrement = ServiceError(
        .usage, "-b is for --sync=incremental and bitmap: no other backup goes on top of an earlier one")

    private func checkSource() throws(ServiceError) {
        if sourceFormat == .raw { throw ServiceError(.usage, "-f raw: only qcow2 images have bitmaps") }
        if snapshot != nil {
            throw ServiceError(
                .usage, "--snapshot and --bitmap: a bitmap tells how the disk changed as it is now, not a snapshot")
        }
        if forceShare {
            throw ServiceError(
                .usage, "-U and --bitmap: while a program uses the disk, its bitmaps are in that program's memory")
        }
    }

    private func checkMode() throws(ServiceError) {
        switch sync {
        case .incremental:
            guard bitmapMode == nil || bitmapMode == .onSuccess else {
                throw ServiceError(
                    .usage, "--sync=incremental clears the bitmap on success; --bitmap-mode=on-success is all it takes",
                    advice: "--sync=bitmap takes the other modes")
            }
        case .bitmap:
            guard bitmapMode != nil else {
                throw ServiceError(
                    .usage, "--sync=bitmap needs --bitmap-mode: what becomes of the bitmap",
                    advice: "never keeps it, on-success clears it")
            }
        case .none, .full, .top:
            guard bitmapMode != .never else {
                throw ServiceError(
                    .usage,
                    "--bitmap-mode=never and --sync=\(sync.rawValue): the bitmap would change nothing, and "
                        + "nothing would change it",
                    advice: "leave --bitmap out")
            }
        }
    }
}
