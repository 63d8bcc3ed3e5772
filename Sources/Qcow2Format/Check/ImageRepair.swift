// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Repairs an image step by step, each durable before the next, so that a crash in between leaves what the next repair
/// finishes:
///
/// 1. Bitmaps that can't be followed are removed from the header, in an order that never shows half of them.
/// 2. Entries that lead nowhere are dropped, and those that break the format mended. That makes leaks at worst.
/// 3. Snapshot entries that lack something, or have too much, are written anew elsewhere, and the header led there.
/// 4. Refcounts that are too low are raised, then those that are too high lowered, where they are. Or new refcount
///    structures are written behind everything else, or where nothing else is, and the header's sector is made to lead to
///    them.
/// 5. Copied flags are made to say what the refcounts say.
/// 6. The header's marks go, once nothing else is wrong.
///
/// Steps are repeated as long as that helps, since each may show what another hid. An L2 table that something else uses as
/// well is not changed: it may as well be data.
final class ImageRepair {
    let check: Qcow2Check
    let announce: (String) -> Void
    /// Structures that the header is going to lead to, whose clusters count as used already.
    var pending: [StructureRange] = []

    /// Whether entries may be missing that led to clusters which seem to leak. The file may have been completed since.
    private var hasLostEntries = false

    var file: any Storage { check.file }

    /// Rounds before it gives up.
    private static let maximumRounds = 4

    init(_ check: Qcow2Check, announce: @escaping (String) -> Void) {
        self.check = check
        self.announce = announce
    }

    /// - Parameters:
    ///   - before: what the check said.
    ///   - run: its run.
    func repair(_ scope: RepairScope, before: CheckReport, _ run: CheckRun) async throws(BlockError) -> RepairOutcome {
        guard run.isSound else {
            announce("nothing is repaired: the header is damaged")
            return RepairOutcome(before: before, after: before)
        }
        guard run.log.count(of: .unreadable) == 0 else {
            announce("nothing is repaired: parts of the file can't be read")
            return RepairOutcome(before: before, after: before)
        }
        hasLostEntries = run.hasCutTables
        var last = before
        var run = run
        for _ in 0..<Self.maximumRounds {
            switch scope {
            case .leaks: try await lowerLeaks(run)
            case .all: try await repairOnce(run)
            }
            let next = try await check.examine()
            guard let nextRun = next.run else { break }
            let isSame = next.report.counts == last.counts
            (last, run) = (next.report, nextRun)
            if isSame || last.isClean || scope == .leaks { break }
        }
        if last.corruptions == 0, last.checkErrors == 0, run.header.header.incompatibleFeatures.isMarked {
            announce("the header's marks (dirty, corrupt) are cleared")
            try await clearMarks()
            last = try await check.run()
        }
        if scope == .all, !last.isClean {
            announce("left as they are: \(last.corruptions) errors, \(last.leaks) leaked clusters")
        }
        return RepairOutcome(before: before, after: last)
    }

    // MARK: Leaks

    private func lowerLeaks(_ run: CheckRun) async throws(BlockError) {
        let leaks = run.log.leaks
        guard leaks > 0 else { return }
        guard !run.hasLostReferences, !hasLostEntries, run.log.count(of: .refcountStructure, .l2TableUnaligned) == 0
        else {
            announce("\(leaks) leaked clusters are left as they are: parts of the image that are damaged may use them")
            return
        }
        announce("\(leaks) leaked clusters: their refcounts are lowered")
        try await setRefcounts(.lower)
        // An entry without the flag was right as long as its cluster's refcount was too high.
        let after = try await freshRun(run)
        if after.log.count(of: .copiedFlag) > run.log.count(of: .copiedFlag) {
            announce("copied flags are set where refcounts are 1 now")
            try await setCopiedFlags(after, clears: false)
        }
    }

    // MARK: Everything

    private func repairOnce(_ start: CheckRun) async throws(BlockError) {
        var run = start
        if run.hasBrokenBitmaps {
            announce("the persistent bitmaps are dropped: their directory or tables are damaged")
            try await dropBitmaps(of: run.header)
            run = try await freshRun(run)
        }
        if try await mendEntries(of: run) { run = try await freshRun(run) }
        if try await mendSnapshots(of: run) { run = try await freshRun(run) }
        if try await repairRefcounts(run) { run = try await freshRun(run) }
        let flags = run.log.count(of: .copiedFlag)
        if flags > 0 {
            announce("\(flags) copied flags are set to what the refcounts say")
            try await setCopiedFlags(run)
        }
    }

    func freshRun(_ old: CheckRun) async throws(BlockError) -> CheckRun {
        try await check.examine().run ?? old
    }

    /// - Returns: whether something was changed.
    func repairRefcounts(_ run: CheckRun) async throws(BlockError) -> Bool {
        let low = run.log.count(of: .refcountTooLow)
        let leaks = run.log.leaks
        if run.needsRebuild {
            if let reason = reasonNotToRebuild(run) {
                announce("the refcount structures are not rebuilt: \(reason)")
                return false
            }
            announce("the refcount structures are rebuilt")
            return try await rebuild(run)
        }
        if low > 0 {
            announce("\(low) refcounts that are too low are raised")
            try await setRefcounts(.raise)
        }
        guard leaks > 0 else { return low > 0 }
        if run.hasLostReferences || hasLostEntries {
            announce("\(leaks) leaked clusters are left as they are: parts of the image that are damaged may use them")
            return low > 0
        }
        announce("\(leaks) leaked clusters: their refcounts are lowered")
        try await setRefcounts(.lower)
        return true
    }

    /// New structures hold only what was counted, and the file grows.
    private func reasonNotToRebuild(_ run: CheckRun) -> String? {
        if run.hasLostReferences || hasLostEntries && run.log.leaks > 0 {
            return "parts of the image that are damaged may use clusters too"
        }
        return run.log.count(of: .refcountOverflow) > 0 ? "refcounts are too narrow for what has to be counted" : nil
    }

    // MARK: The header's first sector, which is written whole or not at all

    func changeHeader(_ body: (inout [UInt8]) -> Void) async throws(BlockError) {
        var sector = try await file.contents(at: 0, count: HeaderSectors.sectorLength)
        body(&sector)
        try await file.write(at: 0, from: sector.span.bytes)
        try await file.flush()
    }

    private func clearMarks() async throws(BlockError) {
        // 72: incompatible_features; bits 0 and 1.
        try await changeHeader { $0[79] &= ~3 }
    }

    /// Removes what leads to the bitmaps: all of it, or first of all the bit that makes it valid.
    private func dropBitmaps(of header: HeaderCluster) async throws(BlockError) {
        var header = header
        header.setBitmaps(nil)
        let new: [UInt8]
        do throws(Qcow2Error.Problem) {
            new = try header.encoded()
        } catch {
            throw .layer(Qcow2Error(image: file.name, error))
        }
        // The tables lie behind the first cluster; where they don't, the file may end before it does.
        guard file.length >= UInt64(new.count) else { return }
        try await HeaderSectors.replace(with: new, in: file)
    }
}

extension IncompatibleFeatures {
    var isMarked: Bool { !isDisjoint(with: [.dirty, .corrupt]) }
}
