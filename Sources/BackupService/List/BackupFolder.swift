// SPDX-License-Identifier: GPL-2.0-or-later

/// The backups of a folder, as trees: an image and below it all that is based on it.
package struct BackupFolder: Sendable {
    package let path: String
    /// Tree after tree in the order of their bases' times, in each an image before those that are based on it.
    package let nodes: [BackupNode]
    /// What backups have left behind, by name.
    package let strays: [FolderStray]

    init(path: String, nodes: [BackupNode], strays: [FolderStray]) {
        self.path = path
        self.nodes = nodes
        self.strays = strays
    }

    /// Whether nothing is wrong. What is being written just now is not wrong.
    package var isSound: Bool {
        nodes.allSatisfy { $0.problems.isEmpty } && strays.allSatisfy { $0.kind == .running }
    }

    /// Indices of the images that a disk is read from, top first, as far as they are in this folder.
    ///
    /// - Complexity: linear in the chain's length. Ends also where the images form a loop.
    package func chain(of index: Int) -> [Int] {
        var chain = [index]
        // In a loop, the one from which the tree hangs has depth 0 and a parent all the same.
        while case .here(let next) = nodes[chain[chain.count - 1]].parent, nodes[chain[chain.count - 1]].depth > 0 {
            chain.append(next)
        }
        return chain
    }
}
