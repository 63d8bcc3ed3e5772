// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format
import SystemPackage

extension ServiceError {
    /// Why a backup and its chain could not be opened, with advice for those who restore.
    ///
    /// - Parameter folder: where the files of the chain are looked for; `nil` for where they say.
    init(_ error: ChainError, restoringFrom folder: String?) {
        let general = ServiceError(error)
        self.init(general.code, general.message, advice: Self.advice(for: error, in: folder) ?? general.advice)
    }

    private static func advice(for error: ChainError, in folder: String?) -> String? {
        switch error {
        case .file(_, let role, let cause):
            return advice(for: cause, role, in: folder)
        case .loop:
            return "qemu-img rebase -u records another backing file"
        case .ambiguousName:
            return "rename one, and record that with qemu-img rebase -u; or restore from the recorded places, without "
                + "--chain"
        case .unusableBackingName:
            return "qemu-img rebase -u records another name"
        default:
            return nil
        }
    }

    private static func advice(for cause: BlockError, _ role: ChainError.Role, in folder: String?) -> String? {
        switch cause {
        case .locked(let failure) where failure.isInUse:
            return "another program writes to it: let that end first"
        case .system(let failure) where failure.errno == .noSuchFileOrDirectory && role != .disk:
            return folder.map { "put it into \($0)" }
                ?? "put it back, or name the folder that holds the files of the chain: --chain FOLDER"
        case .layer(let failure as Qcow2Error):
            guard case .notQcow2 = failure.problem else { return nil }
            return role == .disk
                ? "an unfinished backup looks like this; a raw disk needs -f raw"
                : "it was replaced, or never finished: bring the right file back"
        default:
            return nil
        }
    }
}
