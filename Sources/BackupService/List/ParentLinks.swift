// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Qcow2Format
import SystemPackage

/// Finds the parents of a folder's images, and tells which of them aren't what they were.
struct ParentLinks {
    private(set) var images: [NodeReader.ReadNode]
    private let reader: NodeReader
    private let entries: [[UInt8]: FolderEntry]
    private var indices: [StorageIdentity: [Int]] = [:]
    private var entriesByIdentity: [StorageIdentity: FolderEntry] = [:]

    /// - Parameter entries: by their keys.
    init(_ images: [NodeReader.ReadNode], _ entries: [[UInt8]: FolderEntry], _ reader: NodeReader) {
        self.images = images
        self.entries = entries
        self.reader = reader
        for index in images.indices { indices[images[index].identity, default: []].append(index) }
        for entry in entries.values.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            if entriesByIdentity[entry.identity] == nil { entriesByIdentity[entry.identity] = entry }
        }
    }

    /// Gives each image its parent, and adds the parents that nobody would have taken for images.
    mutating func resolve() async {
        // Those that are added have no backing file that they could name.
        for index in images.indices {
            await resolve(index)
        }
        for index in images.indices { check(index) }
    }

    // MARK: Where they are

    /// Why what is recorded can't be a parent.
    private struct Unusable: Error {
        let reason: String
    }

    private static func path(_ name: String, _ references: Qcow2References) throws(Unusable) -> String {
        guard references.hasTextualBackingFileName else { throw Unusable(reason: "the name is not UTF-8 text") }
        do {
            return try BackingReference(name).path
        } catch {
            throw Unusable(reason: error.reason)
        }
    }

    private mutating func resolve(_ index: Int) async {
        let image = images[index]
        guard let references = image.references, let name = references.backingFileName else { return }
        images[index].node.parentID = image.node.parentID ?? image.recordedParent?.id?.description
        do throws(Unusable) {
            let path = ImagePath.resolve(try Self.path(name, references), relativeTo: image.node.path)
            images[index].node.parent = try await parent(of: index, at: path, references)
        } catch {
            images[index].node.parent = .unusable
            add(.parentUnusable, "its backing file '\(name)' can't be followed: \(error.reason)", to: index)
        }
    }

    private mutating func parent(
        of index: Int, at path: String, _ references: Qcow2References
    ) async throws(Unusable) -> BackupNode.Parent {
        let status: FileStatus?
        do throws(BlockError) {
            status = try FileStatus(path: path)
        } catch {
            throw Unusable(reason: ServiceError(error).message)
        }
        let absolute = ServicePath.absolute(path)
        guard let status else {
            if let moved = moved(index, path) {
                add(
                    .parentMoved,
                    "its backing file was \(absolute) and is here now: restore and verify need --chain with this folder",
                    to: index)
                return .here(moved)
            }
            add(.parentMissing, "its backing file is missing: \(absolute)", to: index)
            return .missing(absolute)
        }
        if let here = self.index(of: status.identity, named: path) { return .here(here) }
        if let entry = entriesByIdentity[status.identity] {
            let format = references.backingFormat.flatMap { ImageFormat(rawValue: $0) } ?? .raw
            let found = await reader.parent(entry, format: format)
            images.append(found)
            indices[found.identity] = [images.count - 1]
            return .here(images.count - 1)
        }
        guard status.kind == .regular || status.kind == .blockDevice else {
            throw Unusable(reason: "it is \(status.kind)")
        }
        return .outside(absolute)
    }

    /// Of several names of one file, the one that was recorded.
    private func index(of identity: StorageIdentity, named path: String) -> Int? {
        guard let found = indices[identity] else { return nil }
        let name = Self.lastPart(of: path)
        return found.first { images[$0].node.name.utf8.elementsEqual(name) } ?? found.first
    }

    /// The image of this folder that has a missing parent's name and is that very backup.
    private func moved(_ index: Int, _ path: String) -> Int? {
        guard let id = images[index].node.parentID, let entry = entries[Self.lastPart(of: path)] else { return nil }
        return indices[entry.identity]?.first { images[$0].node.id == id }
    }

    private static func lastPart(of path: String) -> [UInt8] {
        (FilePath(path).lastComponent?.string).map { Array($0.utf8) } ?? []
    }

    // MARK: Whether they are what they were

    private mutating func check(_ index: Int) {
        let image = images[index]
        // Without its header nothing is known of what it is on.
        guard image.node.virtualSize != nil else { return }
        var (below, name): (ParentLink.Below?, String) = (nil, "nothing")
        switch image.node.parent {
        case .none: break
        case .here(let parent): (below, name) = (known(of: images[parent].node), images[parent].node.name)
        case .outside, .missing, .unusable: return
        }
        let link = ParentLink(
            name: image.node.parentName, header: image.recordedParent, manifest: image.node.manifest.header?.parent,
            path: image.node.path)
        guard let fault = link.fault(below) else { return }
        if case .rebased = fault {
            add(.rebased, fault.message(parent: name), to: index)
        } else {
            add(.parentReplaced, fault.message(parent: name), to: index)
        }
    }

    private func known(of node: BackupNode) -> ParentLink.Below {
        ParentLink.Below(
            id: node.id, name: try? ServicePath.resolved(node.path), virtualSize: node.virtualSize,
            content: node.manifest.header?.content)
    }

    private mutating func add(_ kind: BackupProblem.Kind, _ message: String, to index: Int) {
        images[index].node.problems.append(BackupProblem(kind, message))
    }
}
