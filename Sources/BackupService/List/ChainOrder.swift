// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import Qcow2Format

/// Puts the images of a folder into the order of their trees.
///
/// From each base down, without recursion: a chain may be as long as the folder has files. What is in no tree then is in
/// a loop, or based on one; a loop is cut at its oldest image.
struct ChainOrder {
    /// In their order, with their depths and children.
    private(set) var nodes: [BackupNode] = []

    private let given: [BackupNode]
    /// By given index: those that record it as their parent, in the order of time.
    private var dependants: [[Int]]
    /// Given indices in their order, and the new index of each.
    private var order: [Int] = []
    private var places: [Int?]
    private var depths: [Int]
    private var loops: Set<Int> = []

    init(_ given: [BackupNode]) {
        self.given = given
        dependants = Array(repeating: [], count: given.count)
        places = Array(repeating: nil, count: given.count)
        depths = Array(repeating: 0, count: given.count)
        let byTime = given.indices.sorted { Self.precedes(given[$0], given[$1]) }
        for index in byTime {
            if case .here(let parent) = given[index].parent { dependants[parent].append(index) }
        }
        for index in byTime {
            if case .here = given[index].parent { continue }
            walk(from: index)
        }
        for index in byTime where places[index] == nil {
            let loop = loop(below: index)
            loops.formUnion(loop)
            walk(from: loop.min { Self.precedes(given[$0], given[$1]) } ?? index)
        }
        finish()
    }

    private static func precedes(_ one: BackupNode, _ other: BackupNode) -> Bool {
        if one.created != other.created { return one.created < other.created }
        return one.name.utf8.lexicographicallyPrecedes(other.name.utf8)
    }

    private mutating func walk(from root: Int) {
        var rest = [root]
        while let index = rest.popLast() {
            places[index] = order.count
            order.append(index)
            for child in dependants[index].reversed() where places[child] == nil && child != root {
                depths[child] = depths[index] + 1
                rest.append(child)
            }
        }
    }

    /// The images of the loop to which an image's parents lead.
    private func loop(below start: Int) -> [Int] {
        var seen: Set<Int> = []
        var index = start
        while seen.insert(index).inserted, case .here(let parent) = given[index].parent { index = parent }
        // The first that comes again is in the loop.
        var loop = [index]
        while case .here(let parent) = given[loop[loop.count - 1]].parent, parent != index { loop.append(parent) }
        return loop
    }

    private mutating func finish() {
        for index in order {
            var node = given[index]
            node.depth = depths[index]
            node.children = dependants[index].filter { depths[$0] > 0 }.compactMap { places[$0] }
            var isOnUsable = true
            if case .here(let parent) = node.parent {
                node.parent = .here(places[parent] ?? 0)
                // A parent comes before its children.
                if node.depth > 0, let place = places[parent] { isOnUsable = nodes[place].isUsable }
            }
            if loops.contains(index) {
                node.problems.append(BackupProblem(.loop, "its backing files lead back to itself"))
            }
            if node.depth >= DiskOpener.longestChain {
                node.problems.append(
                    BackupProblem(
                        .tooDeep, "has \(node.depth) files below it: a chain has at most \(DiskOpener.longestChain)"))
            }
            node.isUsable = isOnUsable && !node.problems.contains { $0.kind.breaksDisk }
            nodes.append(node)
        }
    }
}
