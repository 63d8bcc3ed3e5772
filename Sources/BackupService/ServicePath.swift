// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc
import SystemPackage

enum ServicePath {
    /// The path from the root on, without `.` and `..`, and with symbolic links as they are unless `..` follows one.
    static func absolute(_ path: String) -> String {
        var path = FilePath(path)
        if path.isRelative, let current = getcwd(nil, 0) {
            defer { free(current) }
            path = FilePath(String(cString: current)).pushing(path)
        }
        // What `..` means behind a symbolic link only the file system knows.
        if path.components.contains(where: { $0.kind == .parentDirectory }), let name = path.lastComponent,
            let folder = realpath(path.removingLastComponent().string, nil)
        {
            defer { free(folder) }
            return FilePath(String(cString: folder)).appending(name).lexicallyNormalized().string
        }
        return path.lexicallyNormalized().string
    }

    /// The name by which an image is to find another later, from wherever it is read: without symbolic links, since a link
    /// such as `latest` leads elsewhere tomorrow. Devices are named by links such as `/dev/vg/disk` and have other names
    /// of their own after each start: there the link is what stays.
    static func recorded(_ path: String, isFixed: Bool) throws(ServiceError) -> String {
        isFixed ? absolute(path) : try resolved(path)
    }

    /// The file's own path, behind all symbolic links.
    static func resolved(_ path: String) throws(ServiceError) -> String {
        guard let resolved = realpath(path, nil) else {
            throw ServiceError(.io, "\(path): realpath failed: \(Errno(rawValue: errno))")
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// What a path leads to; `nil` for nothing.
    static func status(of path: String) throws(ServiceError) -> FileStatus? {
        try translated { () throws(BlockError) in try FileStatus(path: path) }
    }
}
