// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import Glibc
import SystemPackage

/// Where a new file is to appear, whole or not at all.
///
/// It is written under another name in the same folder and gets its own name at the end. The other name is fixed, so a
/// run finds what an earlier one left when it was killed.
struct FilePlace: Sendable {
    /// What is written.
    enum Content: Sendable {
        case disk
        case manifest
        /// What `verify` keeps beside a backup.
        case verifyState
    }

    let path: String
    var content = Content.disk
    /// The file to replace, which has the name now. Open, and so locked, until the new one has its name: a program that
    /// took it into use meanwhile would go on writing to what is gone. `nil` where nothing may be replaced.
    var replaced: (any Storage)?

    var replaces: Bool { replaced != nil }

    /// What the name ends with under which a file is written.
    static let partialSuffix = ".partial"

    /// What no disk's name may end with: such names belong to what is made beside a disk.
    static let reservedSuffixes = [partialSuffix, Manifest.suffix, VerifyState.suffix]

    var partialPath: String { path + Self.partialSuffix }

    var folder: String {
        let folder = FilePath(path).removingLastComponent().string
        return folder.isEmpty ? "." : folder
    }

    /// How often to try again where the file changes hands between two steps.
    private static let attempts = 10

    /// Makes and locks the file to write.
    ///
    /// - Parameters:
    ///   - readFiles: the files that are read.
    ///   - checksNaming: whether to find out first that the file can get its name later.
    func create(
        copyRange: CopyRangePolicy, readFiles: [StorageIdentity] = [], checksNaming: Bool = true
    ) async throws(ServiceError) -> UnnamedFile {
        let check = checksNaming ? NamingCheck(place: self) : nil
        try check?.checkFolder()
        for _ in 0..<Self.attempts {
            // Locked until the new file is: of two runs that find it, one goes on.
            let leftover = try await Leftover(place: self, readFiles: readFiles).makeWay()
            defer { withExtendedLifetime(leftover) {} }
            guard let file = try make(copyRange) else { continue }
            do throws(ServiceError) {
                // Another run may have got there first. Better seen now than once everything is copied.
                if !replaces, try status(of: path) != nil {
                    throw ServiceError(.exists, "\(path) exists", advice: "another run has just made it")
                }
                try await file.mark()
                try check?.tryRenaming()
            } catch {
                file.remove()
                throw error
            }
            return file
        }
        throw ServiceError(
            .system(SystemCallError(call: "open", errno: .resourceBusy, path: partialPath)))
    }

    /// - Returns: `nil` where another run has got the name first.
    private func make(_ copyRange: CopyRangePolicy) throws(ServiceError) -> UnnamedFile? {
        do throws(BlockError) {
            // What replaces a file gets that file's permissions, and until then nobody else's.
            let file = try LocalStorage.open(
                partialPath, access: .createNew, lock: .writable, copyRange: copyRange,
                permissions: replaces ? 0o600 : 0o666)
            let status = try FileStatus(path: partialPath, followsLink: false)
            return status?.identity == file.identity ? UnnamedFile(place: self, device: file) : nil
        } catch {
            if error.errno == .fileExists { return nil }
            if case .locked(let conflict) = error, conflict.isInUse { throw isBeingWritten }
            throw explained(error)
        }
    }

    var isBeingWritten: ServiceError {
        ServiceError(.locked, "another run is writing \(path): \(partialPath) is locked")
    }

    func explained(_ error: BlockError) -> ServiceError {
        let cause = ServiceError(error)
        return cause.advising(advice(for: error.errno) ?? cause.advice)
    }

    /// What to do where the file can't be made.
    private func advice(for error: Errno) -> String? {
        switch error {
        case .noSuchFileOrDirectory: "make the folder \(folder) first, or choose another target"
        case .permissionDenied, .notPermitted, .readOnlyFileSystem:
            "\(path) is written there at first: the folder must be writable\(otherWay.map { "; or \($0)" } ?? "")"
        case .fileNameTooLong: "\(path) is written there at first: choose a shorter name"
        default: nil
        }
    }

    /// What to do where no file can get a name here; `nil` for nothing else than to look for another place.
    var otherWay: String? {
        switch content {
        case .disk: replaces ? "-n writes into \(path) as it is" : nil
        case .manifest: "--manifest names another place, --digest=none makes none"
        case .verifyState: nil
        }
    }

    func status(of path: String) throws(ServiceError) -> FileStatus? {
        do throws(BlockError) {
            return try FileStatus(path: path, followsLink: false)
        } catch {
            throw explained(error)
        }
    }

    /// Refuses to replace what has got the name since the start. Who took the old file away wanted it gone.
    func checkReplaced() throws(ServiceError) {
        guard let replaced, let present = try status(of: path), present.identity != replaced.identity else { return }
        throw ServiceError(
            .exists, "\(path): everything is copied, but the name leads to another file by now: nothing is replaced",
            advice: "find out what put it there")
    }

    /// As `clear`, unless the name leads to another file by now: then somebody wants that one.
    func clearReplaced() throws(ServiceError) {
        guard let replaced, try status(of: path)?.identity == replaced.identity else { return }
        try clear()
    }

    /// Takes the name away from whatever has it, durably as far as that can be had.
    func clear() throws(ServiceError) {
        if var error = NameCalls.current.unlink(path) {
            if let replaced, Self.mayComeOfOpenFiles(error) {
                try? replaced.close()
                guard let again = NameCalls.current.unlink(path) else { return sync() }
                error = again
            }
            guard error == .noSuchFileOrDirectory else { throw failure("unlink", error) }
        }
        sync()
    }

    /// Whether a host that neither replaces nor removes what is open, as Windows and some file systems, may give an error.
    static func mayComeOfOpenFiles(_ error: Errno) -> Bool {
        [.resourceBusy, .textFileBusy, .permissionDenied, .notPermitted].contains(error)
    }

    private func sync() {
        _ = NameCalls.current.syncFolder(folder)
    }

    /// What an error means of a step that comes once everything is copied.
    func failure(_ step: String, _ error: Errno) -> ServiceError {
        let cause = ServiceError(.system(SystemCallError(call: step, errno: error, path: path)))
        let (code, advice): (ServiceError.Code, String?) =
            switch error {
            case .noSpace, .diskQuotaExceeded: (cause.code, cause.advice)
            // Not a disk that somebody uses: something is mounted there, or its host wants it closed.
            case .resourceBusy, .textFileBusy: (.io, otherWay)
            default: (cause.code, otherWay)
            }
        return ServiceError(code, "\(path): everything is copied, but \(step) failed: \(error)", advice: advice)
    }
}
