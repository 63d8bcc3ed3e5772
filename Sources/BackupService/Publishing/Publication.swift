// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Files that belong together and get their names together.
///
/// All are written and flushed by then. First they are closed, since some storage tells only then that it doesn't take
/// them. Then each is renamed, with its folder synced behind it: so whatever is cut off, the files before it are there.
/// A manifest comes last. Until its backup has its name the earlier backup keeps its own; and a run that is killed in
/// between leaves a manifest that `PendingManifest` puts in place.
struct Publication {
    /// In the order in which they get their names: what others refer to comes first, and a manifest last.
    let files: [UnnamedFile]

    /// Gives the files their names, durably.
    ///
    /// - Throws: `ServiceError`; none has its name then, unless one was replaced: that can't be undone.
    func publish() throws(ServiceError) {
        for file in files { try file.close() }
        // Before the first step, so that none has to be undone.
        for file in files { try file.place.checkReplaced() }
        let isOldGone = try clearOldImage()
        var failure: ServiceError?
        for (index, file) in files.enumerated() {
            do throws(ServiceError) {
                try file.takeName()
            } catch {
                guard !isOldGone, isUndone(files[..<index]) else { throw unnamed(files[index...], failure ?? error) }
                throw error
            }
            do throws(ServiceError) {
                try file.syncName()
            } catch {
                if !isOldGone, isUndone(files[...index]) { throw error }
                // The others belong to it, whether or not a power cut takes it away again.
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    /// Takes an old image away before its data file is replaced: it must not be found with the new image's data.
    ///
    /// - Returns: whether that was to be done.
    private func clearOldImage() throws(ServiceError) -> Bool {
        let disks = files.filter { $0.place.content == .disk }
        guard let image = disks.last, image.place.replaces, disks.dropLast().contains(where: \.place.replaces) else {
            return false
        }
        try image.place.clear()
        // From now on there is no other backup.
        files.forEach { $0.keep() }
        return true
    }

    /// Takes names away again: what nothing refers to is of no use.
    ///
    /// - Returns: whether that was possible.
    private func isUndone(_ named: some BidirectionalCollection<UnnamedFile>) -> Bool {
        guard named.allSatisfy({ !$0.place.replaces }) else { return false }
        for file in named.reversed() { file.withdraw() }
        return true
    }

    /// What to say of files that could not get their names, where what others replaced is gone.
    private func unnamed(_ rest: some Collection<UnnamedFile>, _ error: ServiceError) -> ServiceError {
        rest.forEach { $0.keep() }
        let names = rest.map { $0.place.partialPath }.joined(separator: ", ")
        let isManifest = rest.allSatisfy { $0.place.content == .manifest }
        return ServiceError(
            error.code, error.message,
            advice: isManifest
                ? "the backup has its name; verify puts its manifest in place, \(names)"
                : "what is there is complete but for its name: rename \(names)")
    }
}
