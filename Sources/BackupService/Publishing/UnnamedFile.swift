// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc
import SystemPackage

/// A file that is being written and has not got its name yet. Locked as long as it is open.
struct UnnamedFile: Sendable {
    let place: FilePlace
    let device: any Storage
    /// Whether it must stay, since nothing else has what it holds.
    private let isKept = Locked(false)
    /// What of the replaced file it can't have, one text each.
    let lostAttributes: [String]

    /// - Parameter device: new, and named as it is while it is written.
    init(place: FilePlace, device: any Storage) {
        self.place = place
        self.device = device
        let attributes = place.replaced.flatMap { InheritedAttributes(from: $0, to: device) }
        lostAttributes = attributes?.apply() ?? []
    }

    /// Marks the new file as unfinished.
    func mark() async throws(ServiceError) {
        try await translated { () async throws(BlockError) in
            let sector = UnfinishedMark.sector
            try await device.resize(to: UInt64(sector.count))
            try await device.write(at: 0, from: sector.span.bytes)
            // Else a power cut could leave a file that is nobody's.
            if place.content != .verifyState { try await device.flush() }
        }
    }

    /// Closes the file: some storage tells only now that it doesn't take what was written.
    func close() throws(ServiceError) {
        if let error = NameCalls.current.close(device) { throw ServiceError(notArrived: error) }
    }

    /// Gives the file its name. It is closed, and what it holds is on stable storage.
    ///
    /// - Throws: `ServiceError`; it has not got the name then.
    func takeName() throws(ServiceError) {
        if try hasName() { return }
        do throws(ServiceError) {
            try rename()
        } catch {
            // What looks at the folder may have put it in place meanwhile.
            guard (try? hasName()) == true else { throw error }
        }
    }

    private func rename() throws(ServiceError) {
        guard let error = try renameOnce() else { return }
        // The lock of the old file ends with that.
        guard let replaced = place.replaced, FilePlace.mayComeOfOpenFiles(error) else {
            throw place.failure("rename", error)
        }
        try? replaced.close()
        if let error = try renameOnce() { throw place.failure("rename", error) }
    }

    /// Whether it has its name already: a manifest is put in place by whatever finds it first.
    private func hasName() throws(ServiceError) -> Bool {
        let present = try place.status(of: place.partialPath)
        if present?.identity == device.identity { return false }
        if present == nil, try place.status(of: place.path)?.identity == device.identity { return true }
        throw ServiceError(
            .exists, "\(place.path): everything is copied, but \(place.partialPath) has gone or is another file by now",
            advice: "find out what takes files away there")
    }

    private func renameOnce() throws(ServiceError) -> Errno? {
        try place.checkReplaced()
        let isPresent = try place.status(of: place.path) != nil
        return place.replaces && isPresent
            ? NameCalls.current.rename(place.partialPath, place.path)
            : NameCalls.current.renameToNew(place.partialPath, place.path)
    }

    /// Makes the name durable.
    func syncName() throws(ServiceError) {
        try? place.replaced?.close()
        guard let failure = NameCalls.current.syncFolder(place.folder) else { return }
        throw place.failure("making the name durable", failure.errno)
    }

    /// Takes its name away again.
    func withdraw() {
        guard (try? FileStatus(path: place.path, followsLink: false))?.identity == device.identity else { return }
        try? place.clear()
    }

    /// From now on `remove` leaves it.
    func keep() { isKept.withLock { $0 = true } }

    /// Removes the file, unless it has got its name: what is called `.partial` then is another run's.
    func remove() {
        guard !isKept.withLock({ $0 }),
            (try? FileStatus(path: place.partialPath, followsLink: false))?.identity == device.identity
        else { return }
        if NameCalls.current.unlink(place.partialPath) == nil { return }
        // Not every host removes what is open.
        try? device.close()
        _ = NameCalls.current.unlink(place.partialPath)
    }
}
