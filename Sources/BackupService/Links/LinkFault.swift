// SPDX-License-Identifier: GPL-2.0-or-later

/// How what lies below a backup is not what it was made on.
enum LinkFault: Equatable {
    /// The image records another file than its manifest. It may hold what it didn't then: nothing proves it any more.
    case rebased(from: String)
    case otherBackup
    case otherContent
    /// In bytes of the disk.
    case cutOff(from: UInt64, to: UInt64)

    /// What follows the backup's name.
    ///
    /// - Parameter parent: what to call the file below it.
    func message(parent: String) -> String {
        switch self {
        case .rebased(let made): "was put on another file since its manifest was made: then it was based on \(made)"
        case .otherBackup:
            "was made on another backup than \(parent): that one was replaced, or belongs to another chain"
        case .otherContent: "was made when \(parent) held something else"
        case .cutOff(let made, let found):
            "was made on a disk of \(made) bytes, and \(parent) has \(found): it was cut off or replaced"
        }
    }
}
