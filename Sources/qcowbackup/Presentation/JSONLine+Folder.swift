// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import DiskChain
import Qcow2Format

extension JSONLine {
    struct Folder: Encodable {
        struct Parent: Encodable {
            /// As the image records it.
            let name: String?
            /// Name of the file in the folder; `nil` where it isn't there.
            let file: String?
            /// Path of a parent that is not in the folder.
            let path: String?
            /// `present`, `outside`, `missing` or `unusable`.
            let state: String
            /// Which backup it was when the child was made.
            let id: String?
        }

        struct Verified: Encodable {
            let state: String
            let checked: String?
            let proven: String?
            let bad: Int

            init(_ proof: ProofRecord) {
                state = proof.state.rawValue
                checked = proof.checked.flatMap(DateText.utc)
                proven = proof.proven.flatMap(DateText.utc)
                bad = proof.badRanges
            }
        }

        struct Problem: Encodable {
            let kind: String
            let message: String
        }

        struct Backup: Encodable {
            let name: String
            let format: String
            let id: String?
            /// Whether it is known to be a backup; else it is an image of whatever kind.
            let backup: Bool
            let parent: Parent?
            let depth: Int
            let sync: String?
            let created: String?
            /// Where `created` is from: `manifest` or `file`.
            let createdFrom: String
            let virtualSize: UInt64?
            let length: UInt64
            let actualSize: UInt64?
            let manifest: String
            /// Why the manifest is none of this backup.
            let manifestProblem: String?
            let verified: Verified
            let inUse: Bool
            /// Whether nothing is known of it and its chain that keeps its disk from being restored.
            let usable: Bool
            let problems: [Problem]

            enum CodingKeys: String, CodingKey {
                case name, format, id, backup, parent, depth, sync, created, length, manifest, verified, usable,
                    problems
                case createdFrom = "created-from"
                case virtualSize = "virtual-size"
                case actualSize = "actual-size"
                case manifestProblem = "manifest-problem"
                case inUse = "in-use"
            }
        }

        struct Stray: Encodable {
            let name: String
            let kind: String
            let length: UInt64
            let message: String
        }

        let folder: String
        /// Whether nothing is wrong.
        let sound: Bool
        let backups: [Backup]
        let strays: [Stray]
    }

    static func folder(_ folder: BackupFolder) -> String {
        encode(
            Folder(
                folder: folder.path, sound: folder.isSound,
                backups: folder.nodes.map { backup($0, in: folder) },
                strays: folder.strays.map {
                    Folder.Stray(name: $0.name, kind: $0.kind.rawValue, length: $0.length, message: $0.message)
                }))
    }

    private static func backup(_ node: BackupNode, in folder: BackupFolder) -> Folder.Backup {
        let (manifest, problem) = node.manifest.summary
        return Folder.Backup(
            name: node.name, format: node.format.rawValue, id: node.id, backup: node.isBackup,
            parent: parent(of: node, in: folder), depth: node.depth, sync: node.sync,
            created: DateText.utc(node.created), createdFrom: node.isDated ? "manifest" : "file",
            virtualSize: node.virtualSize, length: node.length, actualSize: node.allocatedLength,
            manifest: manifest, manifestProblem: problem, verified: Folder.Verified(node.proof), inUse: node.isInUse,
            usable: node.isUsable,
            problems: node.problems.map { Folder.Problem(kind: $0.kind.rawValue, message: $0.message) })
    }

    private static func parent(of node: BackupNode, in folder: BackupFolder) -> Folder.Parent? {
        let (state, file, path): (String, String?, String?)
        switch node.parent {
        case .none: return nil
        case .here(let index): (state, file, path) = ("present", folder.nodes[index].name, nil)
        case .outside(let found): (state, file, path) = ("outside", nil, found)
        case .missing(let expected): (state, file, path) = ("missing", nil, expected)
        case .unusable: (state, file, path) = ("unusable", nil, nil)
        }
        return Folder.Parent(name: node.parentName, file: file, path: path, state: state, id: node.parentID)
    }
}

extension ManifestState {
    /// The state in a word, and why the manifest can't be used.
    var summary: (state: String, reason: String?) {
        switch self {
        case .missing: ("missing", nil)
        case .present: ("present", nil)
        case .damaged(let reason): ("damaged", reason)
        case .foreign(let reason): ("foreign", reason)
        }
    }
}
