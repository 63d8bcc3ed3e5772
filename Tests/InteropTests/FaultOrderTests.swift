// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// The order in which a run that succeeds brings things to the disk, seen from outside.
@Suite("Order of writes and flushes", .enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct FaultOrderTests {
    /// One call of the program, on one file.
    private struct Call {
        let name: String
        /// Everything between the brackets, file names included.
        var arguments: String
        /// Lines of the trace where it began and where it ended.
        let start: Int
        var end: Int

        /// Where a write goes, in bytes.
        var offset: UInt64? { arguments.split(separator: ", ").last.flatMap { UInt64($0) } }
        /// Bytes of a write.
        var length: UInt64? { arguments.split(separator: ", ").dropLast().last.flatMap { UInt64($0) } }
        var isMutation: Bool { ["pwrite64", "ftruncate", "fallocate", "copy_file_range"].contains(name) }
        var isFlush: Bool { name == "fdatasync" || name == "fsync" }
        var isRename: Bool { name.hasPrefix("rename") }

        func concerns(_ path: String) -> Bool { arguments.contains("<\(path)>") }
    }

    /// Calls in the order in which they began; those that another thread's line cuts in two are put together.
    private func calls(in trace: String) -> [Call] {
        var calls: [Call] = []
        var open: [Substring: Int] = [:]
        for (number, line) in trace.split(separator: "\n").enumerated() {
            guard let space = line.firstIndex(of: " ") else { continue }
            let thread = line[..<space]
            let text = line[space...].drop { $0 == " " }
            if text.hasPrefix("<... "), let index = open.removeValue(forKey: thread) {
                calls[index].end = number
            } else if let bracket = text.firstIndex(of: "("), !text.hasPrefix("---"), !text.hasPrefix("+++"),
                // A thread that ended with the process before it made a call.
                !text.hasPrefix("???")
            {
                let rest = text[text.index(after: bracket)...]
                let isOpen = rest.hasSuffix(" <unfinished ...>")
                let arguments = rest.components(separatedBy: isOpen ? " <unfinished ...>" : ") ").first ?? String(rest)
                if isOpen { open[thread] = calls.count }
                calls.append(
                    Call(
                        name: String(text[..<bracket]), arguments: arguments.trimmingCharacters(in: .whitespaces),
                        start: number, end: number))
            }
        }
        return calls
    }

    /// The manifest is on stable storage before it gets its name; that is after its backup has got its own, durably. A
    /// backup that has its name already becomes whole only then.
    private func expectManifest(
        _ scenario: FaultScenario, _ workshop: FaultWorkshop, _ all: [Call], _ comment: Comment
    ) throws {
        guard !scenario.isRestore else { return }
        let file = workshop.directory.file(FaultWorkshop.manifestName + ".partial").string
        let written = try #require(all.last { $0.isMutation && $0.concerns(file) }, comment)
        let named = try #require(all.last { $0.isRename && $0.arguments.contains("\"\(file)\"") }, comment)
        #expect(
            all.contains { $0.isFlush && $0.concerns(file) && $0.start > written.end && $0.end < named.start }, comment)
        func isFolderSynced(_ range: ClosedRange<Int>) -> Bool {
            all.contains { call in
                call.isFlush && call.concerns(workshop.directory.path.string) && range.contains(call.start)
                    && range.contains(call.end)
            }
        }
        if scenario.before == .nothing || scenario.before == .oldImage {
            let target = try #require(
                all.last { $0.isRename && $0.arguments.contains("\"\(workshop.partial)\"") }, comment)
            #expect(target.end < named.start && isFolderSynced(target.end...named.start), comment)
        } else {
            let last = try #require(all.last { $0.isMutation && $0.concerns(workshop.target) }, comment)
            #expect(named.end < last.start && isFolderSynced(named.end...last.start), comment)
        }
    }

    @Test("data, flush, first sector, flush, name, folder; and only then exit code 0", arguments: FaultScenario.all)
    func order(_ scenario: FaultScenario) async throws {
        let workshop = try await FaultWorkshop()
        try workshop.prepare(scenario)
        let running = try workshop.startTraced(
            scenario, calls: FaultWorkshop.changes + ",close", inject: nil, showsFiles: true, ["--quiet"])
        let result = try await running.wait()
        try await workshop.judge(scenario, result, expecting: [0], scenario.name)

        let all = calls(in: result.standardOutput).filter { $0.name != "close" }
        let closes = calls(in: result.standardOutput).filter { $0.name == "close" }
        let isRenamed = scenario.before == .nothing || scenario.before == .oldImage
        let path = isRenamed ? workshop.partial : workshop.target
        var files = [path]
        if scenario.name.contains("data file") {
            files.append(workshop.directory.file(FaultWorkshop.dataName + ".partial").string)
        }
        let comment: Comment = "\(result.standardOutput)"
        for file in files {
            let mutations = all.filter { $0.isMutation && $0.concerns(file) }
            let last = try #require(mutations.last, comment)
            #expect(
                last.name == "pwrite64" && last.offset == 0 && last.length == 512,
                "the first sector is last: \(comment)")
            let others = mutations.dropLast().map(\.end).max() ?? -1
            let flushes = all.filter { $0.isFlush && $0.concerns(file) }
            #expect(flushes.contains { $0.start > others && $0.end < last.start }, "a flush before it: \(comment)")
            #expect(flushes.contains { $0.start > last.end }, "a flush behind it: \(comment)")
            if isRenamed {
                #expect(
                    all.contains { rename in
                        rename.isRename && rename.arguments.contains("\"\(file)\"")
                            && flushes.contains { $0.start > last.end && $0.end < rename.start }
                    }, "the name behind the flush: \(comment)")
            } else {
                let first = try #require(mutations.first, comment)
                #expect(first.name == "pwrite64" && first.offset == 0 && first.length == 512, comment)
                let second = try #require(mutations.dropFirst().first, comment)
                #expect(
                    flushes.contains { $0.start > first.end && $0.end < second.start },
                    "the old head is gone before anything changes: \(comment)")
            }
        }
        try expectManifest(scenario, workshop, all, comment)
        for file in files + [workshop.directory.file(FaultWorkshop.manifestName + ".partial").string] {
            guard let rename = all.first(where: { $0.isRename && $0.arguments.contains("\"\(file)\"") }) else {
                continue
            }
            let last = try #require(closes.last { $0.concerns(file) }, comment)
            let flush = try #require(all.last { $0.isFlush && $0.concerns(file) }, comment)
            #expect(
                flush.end < last.start && last.end < rename.start, "closed behind the flush, then renamed: \(comment)")
        }
        let end = try #require(all.last, comment)
        #expect(end.isFlush, "nothing behind the last flush: \(comment)")
        if isRenamed {
            #expect(end.concerns(workshop.directory.path.string), "the folder is last: \(comment)")
            let lastRename = try #require(all.last { $0.isRename }, comment)
            #expect(lastRename.end < end.start, comment)
        }
    }
}
