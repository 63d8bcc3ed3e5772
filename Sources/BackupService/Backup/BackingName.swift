// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format
import SystemPackage

/// The name by which a backup records the file that it is based on.
///
/// A relative name starts in the backup's own folder: a chain that lies in one folder can be moved and copied as a whole.
struct BackingName {
    private let style: BackupRequest.BackingName
    /// Where the backup is going to be.
    private let target: String

    init(_ request: BackupRequest) {
        style = request.backingName
        target = request.target
    }

    /// The name of what the source's top layer is based on.
    func name(of layer: OpenedDisk.Layer) throws(ServiceError) -> String {
        let path = try ServicePath.recorded(layer.path, isFixed: layer.file.isFixed)
        return try name(of: path, isFixed: layer.file.isFixed, isIncrement: false)
    }

    /// The name of a file.
    ///
    /// - Parameters:
    ///   - path: the file's own, from the root on, as `ServicePath.recorded` gives it.
    ///   - isFixed: whether it is a block device.
    ///   - isIncrement: whether the backup goes on the file because the user says so. What the source itself is based on
    ///     stays where it is, wherever the backup is moved.
    /// - Throws: `ServiceError` with the code `usage` where there is no relative name.
    func name(of path: String, isFixed: Bool, isIncrement: Bool) throws(ServiceError) -> String {
        switch style {
        case .absolute: return path
        case .auto:
            guard isIncrement, !isFixed, let folder = try? folder() else { return path }
            let below = Self.relative(path, to: folder)
            return below.hasPrefix("../") ? path : below
        case .relative:
            guard !isFixed, (try? FileStatus(path: target))?.kind != .blockDevice else {
                throw ServiceError(
                    .usage, "--backing-name=relative: a block device has no place beside other files",
                    advice: "use --backing-name=absolute")
            }
            return Self.relative(path, to: try folder())
        }
    }

    /// The folder that the target is made in, behind all symbolic links.
    private func folder() throws(ServiceError) -> String {
        if let status = try? FileStatus(path: target) {
            guard status.kind == .regular else {
                throw ServiceError(.usage, "\(target) is \(status.kind) and has no folder of its own")
            }
            // Through a link, the file that it leads to is replaced.
            return FilePath(try ServicePath.resolved(target)).removingLastComponent().string
        }
        let folder = FilePath(target).removingLastComponent()
        return try ServicePath.resolved(folder.isEmpty ? "." : folder.string)
    }

    /// Both from the root on, and without symbolic links.
    static func relative(_ path: String, to folder: String) -> String {
        let steps = path.utf8.split(separator: UInt8(ascii: "/"))
        let folderSteps = folder.utf8.split(separator: UInt8(ascii: "/"))
        let common = zip(steps.dropLast(), folderSteps).prefix { $0.elementsEqual($1) }.count
        let up = Array(repeating: "..", count: folderSteps.count - common)
        let name = (up + steps[common...].map { String(Substring($0)) }).joined(separator: "/")
        // What stands before a colon would be taken for a protocol.
        let isProtocol = name.prefix { $0 != "/" }.contains(":")
        return isProtocol ? "./" + name : name
    }
}
