// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// A run that is ended at any call by which its files get their names, or in which any of them fails: either the old
/// backup is whole and proven by its manifest, or the new one is, once something has looked for it.
@Suite struct PublishingCrashTests {
    @Test(arguments: PublishingScenario.all, DisturbedCalls.Disturbance.allCases)
    func anyCall(scenario: PublishingScenario, disturbance: DisturbedCalls.Disturbance) async throws {
        for number in 1... {
            let bench = try await scenario.prepare()
            let before = try bench.directory.names()
            let disturbed = DisturbedCalls(disturbance, at: number)
            var failure: ServiceError?
            do {
                _ = try await NameCalls.$current.withValue(disturbed.calls) { try await scenario.run(in: bench) }
            } catch let error as ServiceError {
                failure = error
            }
            guard disturbed.count >= number else {
                #expect(failure == nil && number > 5)
                return
            }
            let left = try bench.directory.names()
            let context = "call \(number): \(failure?.message ?? "success"), \(left)"
            try await judge(scenario, bench, failure, context)
            let shown = try await scenario.shown(in: bench)
            let isWaiting = shown == nil && scenario.isReplacing
            if disturbance == .failure, failure != nil, shown != .second, !isWaiting {
                #expect(left == before, "\(context)")
            }
            try await judgeNextRun(scenario, bench, context)
        }
    }

    private func judge(
        _ scenario: PublishingScenario, _ bench: VerifyBench, _ failure: ServiceError?, _ context: String
    ) async throws {
        let shown = try await scenario.shown(in: bench)
        if failure == nil { #expect(shown == .second, "\(context)") }
        guard let shown else {
            // Two files can't be replaced at once: then the new ones are whole, and wait for their names.
            let isWaiting = scenario.hasDataFile && bench.directory.exists("b.partial")
            #expect(!scenario.isReplacing || isWaiting, "\(context)")
            return
        }
        // A restored disk is no backup, and has no manifest.
        if scenario.isRestore, shown == .second { return }
        let verdict = try await scenario.verdict(in: bench)
        #expect(verdict == .proven, "\(shown): \(context)")
        let manifest = scenario.isManifestElsewhere ? "other" : "b.manifest"
        #expect(bench.directory.exists(manifest), "\(context)")
        if shown == .second { #expect(!bench.directory.exists(manifest + ".partial"), "\(context)") }
    }

    /// The next run finds its way, or names what it will not touch.
    private func judgeNextRun(_ scenario: PublishingScenario, _ bench: VerifyBench, _ context: String) async throws {
        var next = scenario
        next.isReplacing = scenario.isReplacing || bench.directory.exists("b")
        for _ in 0..<3 {
            do {
                try await BackupShelf.patiently { _ = try await next.run(in: bench) }
                break
            } catch let error as ServiceError {
                // Whole but for its name, and nothing says that it is a backup, or nothing else is left.
                let names = ["b.partial", "b.data.partial", "b.data"]
                let name = try #require(
                    names.first { error.code == .exists && error.message.contains(bench.path($0)) },
                    "\(error): \(context)")
                try bench.remove(name)
            }
        }
        #expect(try await scenario.shown(in: bench) == .second, "\(context)")
        if !scenario.isRestore { #expect(try await scenario.verdict(in: bench) == .proven, "\(context)") }
        let names = try bench.directory.names()
        #expect(!names.contains { $0.hasSuffix(".partial") }, "\(names): \(context)")
    }
}
