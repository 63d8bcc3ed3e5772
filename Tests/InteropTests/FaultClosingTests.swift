// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Storage that takes what is written, and refuses it when the file is closed: quotas, network file systems, FUSE.
@Suite("Errors of closing", .enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct FaultClosingTests {
    @Test("whichever file it is, the run fails and leaves what was there", arguments: FaultScenario.all)
    func closing(_ scenario: FaultScenario) async throws {
        let workshop = try await FaultWorkshop()
        let program = try #require(Program.qcowbackup.path)
        let isInPlace = scenario.before == .emptyImage || scenario.before == .fullRaw
        var names = [isInPlace ? FaultWorkshop.targetName : FaultWorkshop.partialName]
        if !scenario.isRestore { names.append(FaultWorkshop.manifestName + ".partial") }
        if scenario.name.contains("data file") { names.append(FaultWorkshop.dataName + ".partial") }
        for name in names {
            try workshop.prepare(scenario)
            let file = workshop.directory.file(name).string
            let result = try await Program.strace.run(
                [
                    "-f", "-o", "/dev/null", "-P", file, "-e", "trace=close", "-e", "inject=close:error=EDQUOT:when=1+",
                    program.string,
                ] + workshop.arguments(scenario, ["--quiet"]))
            try await workshop.judge(
                scenario, result, expecting: [1], causes: ["close failed: Disk quota exceeded"],
                "\(scenario.name), closing \(name)")
        }
    }

    @Test("a repair and a changed bitmap that don't arrive are told")
    func changes() async throws {
        let workshop = try await FaultWorkshop()
        let program = try #require(Program.qcowbackup.path)
        for arguments in [["check", "-r", "all"], ["bitmap", "add"]] {
            let result = try await Program.strace.run(
                [
                    "-f", "-o", "/dev/null", "-P", workshop.source, "-e", "trace=close", "-e",
                    "inject=close:error=EDQUOT:when=1+", program.string,
                ] + arguments + [workshop.source] + (arguments[0] == "bitmap" ? ["b0"] : []))
            #expect(result.exitCode == 1, "\(result)")
            #expect(result.standardError.contains("close failed: Disk quota exceeded"), "\(result)")
            #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
        }
    }
}
