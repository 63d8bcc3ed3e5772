// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import TestSupport
import Testing

@testable import BackupService

/// The order of the trees: each image once, below its parent, bases and children by time; loops end.
@Suite struct ChainOrderTests {
    private func node(_ name: String, at time: Double, parent: BackupNode.Parent) throws -> BackupNode {
        let identity = try #require(try FileStatus(path: "/")).identity
        var node = BackupNode(
            FolderEntry(
                name: name, path: name, identity: identity, length: 0, modified: Date(timeIntervalSince1970: time)),
            format: .qcow2)
        node.parent = parent
        return node
    }

    @Test(arguments: 1...80 as ClosedRange<UInt64>) func forests(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let count = Int.random(in: 1...30, using: &random)
        let parents = (0..<count).map { _ -> Int? in
            Int.random(in: 0..<4, using: &random) == 0 ? nil : Int.random(in: 0..<count, using: &random)
        }
        let given = try parents.enumerated().map { index, parent in
            try node(
                "\(index)", at: Double.random(in: 0...9, using: &random).rounded(),
                parent: parent.map { .here($0) } ?? .none)
        }
        let nodes = ChainOrder(given).nodes
        #expect(nodes.map(\.name).sorted() == given.map(\.name).sorted())
        // By the naive model, who comes again on the way to its own base is in a loop.
        for (place, node) in nodes.enumerated() {
            let index = try #require(Int(node.name))
            var next = parents[index]
            for _ in 0..<count where next != index { next = next.flatMap { parents[$0] } }
            let isInLoop = next == index
            #expect(node.problems.contains { $0.kind == .loop } == isInLoop)
            if let parent = parents[index] {
                guard case .here(let found) = node.parent else { throw CancellationError() }
                #expect(nodes[found].name == "\(parent)")
                if node.depth > 0 {
                    #expect(found < place)
                    #expect(node.depth == nodes[found].depth + 1)
                    #expect(nodes[found].children.contains(place))
                } else {
                    #expect(isInLoop)
                }
            } else {
                #expect(node.depth == 0 && node.parent == .none)
            }
            let times = node.children.map { nodes[$0].created }
            #expect(times == times.sorted())
            let isBehindLoop = isInLoop || (node.depth > 0 && !nodes[folderParent(node)].isUsable)
            #expect(node.isUsable == !isBehindLoop)
        }
        let folder = BackupFolder(path: "", nodes: nodes, strays: [])
        for (place, node) in nodes.enumerated() { #expect(folder.chain(of: place).count == node.depth + 1) }
    }

    private func folderParent(_ node: BackupNode) -> Int {
        if case .here(let index) = node.parent { index } else { 0 }
    }

    /// One below the other, as many as nobody has: no recursion, and what is too deep says so.
    @Test func aLongChain() throws {
        let count = 5000
        let given = try (0..<count).map { index in
            try node("\(index)", at: Double(count - index), parent: index == 0 ? .none : .here(index - 1))
        }
        let nodes = ChainOrder(given).nodes
        #expect(nodes.map(\.depth) == Array(0..<count))
        #expect(nodes.firstIndex { !$0.isUsable } == DiskOpener.longestChain)
    }

    @Test func loopsInFiles() async throws {
        let shelf = try await BackupShelf(isEmpty: true)
        for (name, backing) in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "c"), ("self", "self")] {
            try await shelf.directory.makeOverlay("shelf/" + name, over: "shelf/" + backing, length: 1 << 20)
        }
        let folder = try await shelf.list()
        #expect(Set(folder.nodes.map(\.name)) == ["a", "b", "c", "d", "self"])
        for name in ["a", "b", "c", "self"] { #expect(folder.problems(name) == [.loop]) }
        #expect(folder.problems("d") == [])
        #expect(folder.nodes.allSatisfy { !$0.isUsable })
    }
}
