// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DiskChain
import Qcow2Format
import SystemPackage

extension ServiceError {
    /// What a failed request to a device means for the user.
    init(_ error: BlockError) {
        self.init(Self.code(of: error), "\(error)", advice: Self.advice(for: error), underlying: error)
    }

    /// What a failed request to the target, or to a file of its, means for the user.
    static func ofTarget(_ error: BlockError) -> ServiceError {
        let cause = ServiceError(error)
        guard case .locked = error, cause.code == .locked else { return cause }
        return ServiceError(
            .locked, cause.message, advice: "another program has it open: choose another target, or let that end first")
    }

    init(_ error: ChainError) {
        switch error {
        case .file(_, let role, let cause):
            let inner = ServiceError(cause)
            self.init(
                inner.code, "\(error)", advice: Self.advice(for: cause, role: role) ?? inner.advice, underlying: error)
        case .unknownBackingFormat:
            self.init(
                .usage, "\(error)", advice: "say what it is with -F qcow2 or -F raw; it is never guessed",
                underlying: error)
        case .unsupportedFormat:
            self.init(
                .unsupported, "\(error)",
                advice: "qemu-img convert -O qcow2 makes one image of all that the disk shows",
                underlying: error)
        case .unusableBackingName:
            self.init(.unsupported, "\(error)", underlying: error)
        case .loop, .tooDeep, .dataFileNotNamed:
            self.init(.corrupt, "\(error)", underlying: error)
        case .ambiguousName:
            self.init(.usage, "\(error)", underlying: error)
        case .noSnapshots:
            self.init(.usage, "\(error)", advice: "--snapshot is for qcow2 images", underlying: error)
        }
    }

    init(_ error: JobError) {
        switch error {
        case .copy(let failure):
            self.init(
                Self.code(of: failure.underlying), "\(failure.underlying)",
                advice: Self.advice(for: failure.underlying), underlying: error)
        case .scan(_, let underlying), .clusterSizeUnknown(_, let underlying):
            self.init(Self.code(of: underlying), "\(error)", advice: Self.advice(for: underlying), underlying: error)
        case .cancelled:
            self = .cancelled
        case .compressionUnsupported:
            self.init(.unsupported, "\(error)", underlying: error)
        default:
            self.init(.usage, "\(error)", underlying: error)
        }
    }

    /// What is wrong with the options of an image to be made.
    init(_ problem: Qcow2Error.Problem) {
        self.init(Self.code(of: problem), "\(problem)")
    }

    /// What it means where a file that was written and flushed can't be closed.
    init(notArrived error: BlockError) {
        let cause = ServiceError(error)
        self.init(
            cause.code, "\(cause.message): what was written has not arrived",
            advice: cause.advice ?? "look for a quota, or a failing server, behind the file system")
    }

    static let cancelled = ServiceError(.cancelled, "cancelled")

    private static func code(of error: BlockError) -> Code {
        switch error {
        case .system(let failure): code(of: failure.errno)
        case .layer(is ForeignFormatError): .unsupported
        case .layer(let failure): (failure as? Qcow2Error).map { code(of: $0.problem) } ?? .io
        case .truncated: .corrupt
        case .outOfRange: .io
        case .notADisk, .unsupported: .unsupported
        case .locked(let failure): failure.isInUse ? .locked : .io
        case .readOnly: .permission
        case .cancelled: .cancelled
        }
    }

    private static func advice(for format: ForeignFormat, role: ChainError.Role) -> String {
        let asIs = role == .disk ? "; -f raw takes the file's own bytes for the disk" : ""
        switch format.remedy {
        case .convert(let name):
            return "qemu-img convert -f \(name) -O qcow2 makes an image of it that can be read" + asIs
        case .unpack(let program): return "unpack it first (\(program))" + asIs
        case .decrypt: return "only who has the key can open it" + asIs
        }
    }

    private static func code(of errno: Errno) -> Code {
        switch errno {
        case .noSuchFileOrDirectory, .notDirectory: .notFound
        case .permissionDenied, .notPermitted, .readOnlyFileSystem: .permission
        case .noSpace, .fileTooLarge, .diskQuotaExceeded: .noSpace
        case .fileExists: .exists
        case .resourceBusy: .locked
        default: .io
        }
    }

    private static func code(of problem: Qcow2Error.Problem) -> Code {
        switch problem {
        case .encrypted, .incompatibleFeatures, .version, .notWritable: .unsupported
        case .option, .tooLarge, .snapshotNotFound: .usage
        case .bitmapNotFound: .notFound
        case .bitmapExists: .exists
        case .bitmapUnusable: .inconsistent
        default: .corrupt
        }
    }

    private static func advice(for error: BlockError, role: ChainError.Role = .disk) -> String? {
        switch error {
        case .layer(let failure as ForeignFormatError):
            return advice(for: failure.format, role: role)
        case .locked(let failure) where failure.isInUse:
            return "a disk in use by a virtual machine is backed up through its QEMU, over NBD; "
                + "-U reads it as it is, possibly torn"
        case .system(let failure) where failure.errno == .noSpace || failure.errno == .diskQuotaExceeded:
            return "make room, or choose another place"
        case .system(let failure) where failure.errno == .resourceBusy:
            return "it is mounted, or part of a volume or an array: take it out of use first"
        case .system(let failure) where failure.errno == .fileTooLarge:
            return "the file system or a limit allows no file of this size"
        case .system(let failure) where failure.errno == .noSuchFileOrDirectory:
            switch role {
            case .backingFile: return "put the backing file back where the image expects it"
            case .dataFile: return "put the data file back where the image expects it"
            case .disk: return nil
            }
        default: return nil
        }
    }
}
