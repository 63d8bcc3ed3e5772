// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DiskChain
import Qcow2Format

/// One run of the check command.
package struct CheckOperation: Sendable {
    private let request: CheckRequest
    private let warn: @Sendable (String) -> Void
    private let announce: @Sendable (String) -> Void

    /// - Parameters:
    ///   - warn: called with one line for each thing that the user should know and that stops nothing.
    ///   - announce: called with one line for each kind of change, before it is made.
    package init(
        _ request: CheckRequest, warn: @escaping @Sendable (String) -> Void,
        announce: @escaping @Sendable (String) -> Void
    ) {
        self.request = request
        self.warn = warn
        self.announce = announce
    }

    /// Checks the image. A repair is on stable storage when this returns.
    ///
    /// - Throws: `ServiceError`; `.unsupported` for formats that have no structure to check.
    package func run() async throws(ServiceError) -> CheckResult {
        try await Inspection.run { () async throws(ServiceError) in try await perform() }
    }

    private func perform() async throws(ServiceError) -> CheckResult {
        let file = try open()
        let format = try await format(of: file)
        guard format == .qcow2 else { throw await refusal(of: file) }
        if let reason = await unfinished(file) { throw ServiceError(.corrupt, reason, advice: Self.backUpAgain) }
        var result = CheckResult(image: request.image, format: .qcow2, report: CheckReport())
        do throws(BlockError) {
            let check = Qcow2Check(file)
            if let scope = request.repair {
                let outcome = try await check.repair(scope, announce: announce)
                result.report = outcome.after
                result.corruptionsFixed = outcome.corruptionsFixed
                result.leaksFixed = outcome.leaksFixed
            } else {
                result.report = try await check.run()
            }
        } catch {
            // That something can't be done to this file doesn't mean that its format has no structure to check.
            if case .unsupported = error { throw ServiceError(.io, "\(error)") }
            throw ServiceError(error)
        }
        await checkOtherFiles(of: file, &result.report)
        if request.repair != nil, let error = NameCalls.current.close(file) { throw ServiceError(notArrived: error) }
        return result
    }

    private func open() throws(ServiceError) -> any Storage {
        return try translated { () throws(BlockError) in
            let isChanged = request.repair != nil
            let file = try LocalStorage.open(
                request.image, access: isChanged ? .readWrite : .readOnly,
                lock: isChanged ? .writable : request.forceShare ? .forcedShare : .readOnlySource)
            if let warning = file.lockWarning("make sure that nothing else uses it") { warn(warning) }
            return file
        }
    }

    private func format(of file: any Storage) async throws(ServiceError) -> ImageFormat {
        if request.format == .raw { return .raw }
        do throws(BlockError) {
            let recognised = try await ImageFormat.recognised(in: file)
            return request.format ?? recognised
        } catch {
            let cause = ServiceError(error)
            // The user says that it has a structure to check.
            throw request.format == nil ? cause : ServiceError(.io, cause.message, advice: cause.advice)
        }
    }

    // MARK: Unfinished backups

    private static let backUpAgain = "it is no backup: make another one"

    private func isHeadBlank(_ file: any Storage) async -> Bool {
        if await file.isBlank(upTo: Inspection.sectorLength) { return true }
        return await file.isMarkedUnfinished()
    }

    /// Why an image that is to be of format qcow2 is none; `nil` where it may be one.
    private func unfinished(_ file: any Storage) async -> String? {
        guard await isHeadBlank(file) else {
            if Inspection.isPartial(request.image) {
                warn("\(request.image) has the name of a backup that was not finished")
            }
            return nil
        }
        return "\(request.image) is an unfinished backup: its first bytes, which are written last, are blank"
    }

    private func refusal(of file: any Storage) async -> ServiceError {
        if request.format == nil, Inspection.isPartial(request.image) {
            return ServiceError(
                .corrupt, "\(request.image) is an unfinished backup: it still has its temporary name",
                advice: Self.backUpAgain)
        }
        let hint =
            await isHeadBlank(file)
            ? "; its first bytes are blank: if this was to be a qcow2 backup, it was never finished" : ""
        return ServiceError(.unsupported, "\(request.image): raw images have no structure to check\(hint)")
    }

    // MARK: Files behind the image

    /// Adds the files that the image can't be used without and that can't be opened.
    private func checkOtherFiles(of file: any Storage, _ report: inout CheckReport) async {
        let isHeaderBroken = report.imageEndOffset == 0 || report.counts[.header] != nil
        guard !isHeaderBroken else { return }
        do throws(BlockError) {
            let image = try await Qcow2File.opened(file)
            let lock: ImageLockMode = request.forceShare ? .forcedShare : .readOnlySource
            if image.references.hasExternalDataFile {
                guard let path = image.dataFilePath else {
                    return report.addUnchecked("data file", "the image does not name it")
                }
                do throws(BlockError) {
                    let dataFile = try LocalStorage.open(path, access: .readOnly, lock: lock)
                    // Of its last cluster a part may be missing, which is zeroes.
                    let end = (dataFile.length.dividedRoundingUp(by: image.facts.clusterLength))
                    if end * image.facts.clusterLength < report.dataFileEnd {
                        report.addCutDataFile(path, length: dataFile.length)
                    }
                } catch {
                    report.addUnchecked("data file", "\(error)")
                }
            }
            do throws(ChainError) {
                _ = try await DiskOpener(lock: lock).openBacking(of: image)
            } catch {
                if case .unsupportedFormat(let path, _) = error {
                    // Others read it, and it has to be there for them.
                    if (try? FileStatus(path: path)) == nil {
                        report.addUnchecked("backing file", "\(path) can't be opened, and the image needs it")
                    }
                } else if Self.matters(error) {
                    report.addUnchecked("backing file", "\(error)")
                }
            }
        } catch {
            // What is wrong with the image itself is in the report, but for names of files that can't be followed.
            if Self.isAboutNames(error) { report.addUnchecked("header", "\(error)") }
        }
    }

    private static func isAboutNames(_ error: BlockError) -> Bool {
        guard case .layer(let cause) = error, let problem = (cause as? Qcow2Error)?.problem else { return true }
        switch problem {
        case .headerField(name: "backing_file_offset", _, _), .headerExtension: return true
        default: return false
        }
    }

    /// Whether a backing chain can't be opened at all. What else is wrong with a backing file is found by checking it.
    private static func matters(_ error: ChainError) -> Bool {
        switch error {
        case .unknownBackingFormat, .noSnapshots: return false
        case .file(_, _, .layer(let cause)):
            switch (cause as? Qcow2Error)?.problem {
            case .l1ReservedBits, .overlaps, .notAligned, .pastEnd: return false
            default: return true
            }
        default: return true
        }
    }
}

/// An image whose structure is to be checked.
package struct CheckRequest: Sendable {
    package var image: String
    /// `nil` recognises it.
    package var format: ImageFormat?
    /// What is to be repaired; `nil` for nothing.
    package var repair: RepairScope?
    /// Read although another process writes to the image; what it has not written yet is then taken for damage.
    package var forceShare = false

    package init(image: String) {
        self.image = image
    }
}

/// What a check found, and what it repaired.
package struct CheckResult: Sendable {
    package var image: String
    package var format: ImageFormat
    /// As the image is now.
    package var report: CheckReport
    package var corruptionsFixed: UInt64 = 0
    package var leaksFixed: UInt64 = 0

    package init(image: String, format: ImageFormat, report: CheckReport) {
        self.image = image
        self.format = format
        self.report = report
    }
}
