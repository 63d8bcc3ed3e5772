// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// What lies behind the image in whose place a backup is restored.
///
/// Of two backups of a chain the later one is based on the earlier one. Restoring the earlier one onto it would take that
/// point in time away, and change all that go on from there. No format is relied on: the files are only looked at, and
/// what can't be read ends the search.
struct ReplacedChain {
    /// The image to be replaced.
    let path: String
    /// Where the files of the chain are that is restored; `nil` for where they say.
    let folder: ChainFolder?

    /// Refuses to replace an image that is based on what it would be restored from.
    func check(against disk: OpenedDisk) async throws(ServiceError) {
        guard let target = try? FileStatus(path: path), target.kind == .regular else { return }
        let read = disk.files
        // That is refused in any case, and better told by what it is.
        guard !read.contains(where: { $0.identity == target.identity }) else { return }
        var image = path
        // A layer that is no increment, as that of a running disk, may stand on the same base as the backup.
        let isIncrement = await Self.header(of: path)?.identity?.parent != nil
        for _ in 0..<DiskOpener.longestChain {
            guard let name = await Self.header(of: image)?.references.backingFileName else { return }
            let present = candidates(name, of: image).compactMap { candidate in
                (try? FileStatus(path: candidate)).map { (path: candidate, status: $0) }
            }
            for (_, status) in present {
                guard let file = read.first(where: { $0.identity == status.identity }),
                    isIncrement || file === disk.layers[0].file
                else { continue }
                throw ServiceError(
                    .usage,
                    "\(path) is itself based on \(file.name), which is read: it would be lost, and with it all "
                        + "that is based on it",
                    advice: "restore to another file; or remove \(path) first, if nothing needs it")
            }
            guard let next = present.first, next.status.kind == .regular else { return }
            image = next.path
        }
    }

    private static func header(of path: String) async -> Qcow2File? {
        do throws(BlockError) {
            return try await Qcow2File.opened(LocalStorage.open(path, access: .readOnly, lock: nil))
        } catch {
            return nil
        }
    }

    /// Where a backing file may be, the likeliest first.
    private func candidates(_ name: String, of image: String) -> [String] {
        guard let reference = try? BackingReference(name) else { return [] }
        let resolved = (try? ServicePath.resolved(image)).map { ImagePath.resolve(reference.path, relativeTo: $0) }
        return [folder?.path(of: reference.path), ImagePath.resolve(reference.path, relativeTo: image), resolved]
            .compactMap(\.self)
    }
}
