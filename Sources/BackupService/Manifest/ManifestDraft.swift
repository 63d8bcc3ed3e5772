// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupManifest
import BlockIO
import DiskChain
import FoundationEssentials
import Qcow2Format
import SystemPackage

/// A backup's manifest while the backup is being made.
struct ManifestDraft: Sendable {
    private let file: UnnamedFile
    private let recorder: ContentRecorder
    /// What the job writes to, in place of the target itself.
    let device: RecordingDevice

    /// - Parameter file: where it is to be written.
    init(in file: UnnamedFile, algorithm: DigestAlgorithm, target: any BlockDevice) {
        self.file = file
        recorder = ContentRecorder(virtualSize: target.length, algorithm: algorithm, scratch: file.device)
        device = RecordingDevice(target, recorder)
    }

    /// Digests what has not been yet. Before the target is finished, since it may be read for that.
    func finish(_ plan: BackupPlan) async throws(ServiceError) -> RecordedContent {
        return try await translated { () async throws(BlockError) in
            try await recorder.finish(isWhole: plan.sync == .full, reading: device)
        }
    }

    /// Writes the manifest under another name, durably. Before the target is whole under its name: a backup that can't
    /// have its manifest is none.
    ///
    /// - Parameters:
    ///   - content: what the target holds.
    ///   - raw: the file of a raw target, as it will be; `nil` for a target that says itself which backup it is.
    func write(
        _ content: RecordedContent, _ request: BackupRequest, _ plan: BackupPlan, id: BackupID,
        unreadable: [Range<UInt64>], raw: FileStamp? = nil
    ) async throws(ServiceError) -> WrittenManifest {
        let summary: RecordedContent.Summary
        do throws(BlockError) { summary = try await content.summary() } catch { throw ServiceError(error) }
        let parent = await ManifestHeader.Parent(plan, request)
        let header = ManifestHeader(
            id: id.description, created: Date(), writer: "qcowbackup \(ProgramVersion.current)",
            target: .init(
                name: FilePath(request.target).lastComponent?.string ?? request.target,
                format: request.targetFormat.rawValue, length: raw?.length, modified: raw?.modified),
            source: .init(plan.source, snapshot: request.snapshot), sync: plan.sync.rawValue,
            bitmap: plan.bitmap.map { .init(name: $0.name, mode: $0.mode.rawValue) }, parent: parent,
            unreadable: unreadable, content: summary)
        do throws(BlockError) {
            try await Manifest.write(header, content, to: file.device, scratchLength: recorder.scratchLength)
            try await file.device.flush()
        } catch {
            throw Self.unwritten(ServiceError(error))
        }
        do throws(ServiceError) { try file.close() } catch { throw Self.unwritten(error) }
        return WrittenManifest(file: file, content: header.content)
    }

    private static func unwritten(_ cause: ServiceError) -> ServiceError {
        ServiceError(
            cause.code, "the manifest could not be written: \(cause.message)",
            advice: cause.advice ?? "--manifest names another place, --digest=none makes none")
    }
}

/// A manifest that is on stable storage and closed, and may not have got its name yet.
struct WrittenManifest: Sendable {
    let file: UnnamedFile
    /// Root digest of the content, in hexadecimal digits.
    let content: String
}

/// The manifest that a backup was given.
package struct ManifestSummary: Sendable, Equatable {
    package var path: String
    /// Root digest of the content, in hexadecimal digits.
    package var content: String

    package init(path: String, content: String) {
        self.path = path
        self.content = content
    }
}
