// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import CLinux
import Glibc
import SystemPackage

/// What will keep a file from getting its name, as far as that can be found out before anything is copied.
struct NamingCheck {
    let place: FilePlace

    /// Refuses a folder, or a file to replace, that the system will not let change.
    func checkFolder() throws(ServiceError) {
        let folder = place.folder
        if let reason = Self.protection(of: folder) {
            throw refusal("the folder \(folder) is \(reason.text)", advice: reason.advice)
        }
        if place.replaces { try checkReplaced() }
        guard let failure = NameCalls.current.syncFolder(folder) else { return }
        // Whoever makes the file says it better.
        if failure.errno == .noSuchFileOrDirectory || failure.errno == .notDirectory { return }
        let cause = ServiceError(.system(SystemCallError(call: failure.call, errno: failure.errno, path: folder)))
        throw refusal(
            "the folder \(folder) can't be synced (\(failure.call): \(failure.errno)), and without that no name in it is "
                + "durable", cause.code,
            advice: failure.errno == .permissionDenied ? "it must be readable" : nil)
    }

    private func checkReplaced() throws(ServiceError) {
        var attributes: UInt32 = 0
        if clinux_file_attributes(place.path, &attributes) == 0,
            attributes & UInt32(CLINUX_ATTRIBUTE_MOUNT_POINT) != 0
        {
            throw refusal("\(place.path) is a mount point, and can't be replaced", advice: nil)
        }
        if let reason = Self.protection(of: place.path) {
            throw refusal("\(place.path) is \(reason.text), and can't be replaced", advice: reason.advice)
        }
        var (file, folder) = (stat(), stat())
        if lstat(place.path, &file) == 0, stat(place.folder, &folder) == 0, folder.st_mode & S_ISVTX != 0,
            ![0, file.st_uid, folder.st_uid].contains(geteuid())
        {
            throw refusal(
                "\(place.path) belongs to another user, and in the folder \(place.folder) only its owner may replace it "
                    + "(sticky bit)", .permission, advice: nil)
        }
    }

    /// What the system lets nobody change.
    private static func protection(of path: String) -> (text: String, advice: String)? {
        var attributes: UInt32 = 0
        guard clinux_file_attributes(path, &attributes) == 0 else { return nil }
        if attributes & UInt32(CLINUX_ATTRIBUTE_IMMUTABLE) != 0 {
            return ("immutable", "chattr -i takes that away")
        }
        if attributes & UInt32(CLINUX_ATTRIBUTE_APPEND_ONLY) != 0 {
            return ("append-only", "chattr -a takes that away")
        }
        return nil
    }

    /// Renames an empty file in the folder, and replaces one where that is to come.
    func tryRenaming() throws(ServiceError) {
        let calls = NameCalls.current
        let (one, other) = (probePath("a"), probePath("b"))
        defer {
            for path in [one, other] where Self.isProbe(path) { _ = calls.unlink(path) }
        }
        for path in [one, other] where Self.isProbe(path) { _ = calls.unlink(path) }
        try makeProbe(one)
        if let error = calls.renameToNew(one, other) {
            throw refusal("no file can be renamed in the folder \(place.folder): \(error)", advice: nil)
        }
        guard place.replaces else { return }
        try makeProbe(one)
        if let error = calls.rename(one, other) {
            throw refusal(
                "no file can be replaced by renaming another in the folder \(place.folder): \(error)",
                advice: place.content == .disk ? nil : "remove \(place.path) first")
        }
    }

    /// A name of this place's own, which fits where that of a target does.
    private func probePath(_ suffix: String) -> String {
        var name = FilePath(place.path).lastComponent?.string ?? ""
        // A manifest's are those of its disk: whatever the next run makes, it finds them.
        if name.hasSuffix(Manifest.suffix) { name.removeLast(Manifest.suffix.count) }
        // FNV-1a: the same in each run, so that the next one finds what this one leaves.
        let hash = name.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
        return FilePath(place.folder)
            .appending(".qcowbackup-\(String(hash, radix: 16))\(suffix)\(FilePlace.partialSuffix)").string
    }

    private func makeProbe(_ path: String) throws(ServiceError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | clinux_O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw place.explained(.system(SystemCallError(call: "open", errno: Errno(rawValue: errno), path: path)))
        }
        close(descriptor)
    }

    /// Whether a file is one that an earlier run left here.
    private static func isProbe(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && status.st_size == 0
            && status.st_uid == geteuid()
    }

    private func refusal(
        _ message: String, _ code: ServiceError.Code = .unsupported, advice: String?
    ) -> ServiceError {
        let advices = [advice, place.otherWay].compactMap(\.self)
        return ServiceError(
            code, message, advice: advices.isEmpty ? "choose another folder" : advices.joined(separator: "; or "))
    }
}
