// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import Testing

@testable import BackupCore

/// The tables of states and verbs, row by row, and the states that a job goes through.
@Suite struct JobStateTests {
    static let transitions: [JobState: Set<JobState>] = [
        .created: [.running, .aborting, .null],
        .running: [.paused, .waiting, .aborting],
        .paused: [.running],
        .waiting: [.pending, .aborting],
        .pending: [.concluded, .aborting],
        .aborting: [.concluded],
        .concluded: [.null],
        .null: [],
    ]

    @Test(arguments: JobState.allCases)
    func successors(of state: JobState) {
        #expect(Set(state.successors) == Self.transitions[state])
    }

    static let verbs: [JobVerb: Set<JobState>] = [
        .cancel: [.created, .running, .paused, .waiting, .pending],
        .pause: [.created, .running, .paused],
        .resume: [.created, .running, .paused],
        .setSpeed: [.created, .running, .paused],
        .complete: [],
        .finalize: [.pending],
        .dismiss: [.concluded],
    ]

    @Test(arguments: JobVerb.allCases, JobState.allCases)
    func allowed(verb: JobVerb, state: JobState) {
        #expect(verb.isAllowed(in: state) == Self.verbs[verb]!.contains(state))
    }

    @Test func refusalNamesJobStateAndVerb() {
        let error = JobError.verbNotAllowed(verb: .setSpeed, state: .concluded, job: "drive0")
        #expect(error.description == "Job 'drive0' in state 'concluded' cannot accept command verb 'set-speed'")
    }

    @Test func aJobRunsOnce() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let source = CreationTests.disk("source")
        let job = try await BackupJob(
            source: source, target: CreationTests.disk("target"), configuration: .init())
        #expect(job.state == .created)
        try await job.run(on: workers)
        #expect(job.state == .null)
        await #expect(throws: JobError.self) { try await job.run(on: workers) }
        job.cancel()
        #expect(job.state == .null)
    }

    @Test func cancelledBeforeItStarts() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let source = CreationTests.disk("source")
        let target = CreationTests.disk("target")
        let job = try await BackupJob(source: source, target: target, configuration: .init())
        job.cancel()
        do {
            try await job.run(on: workers)
            Issue.record("the job ran")
        } catch {
            guard case .cancelled = error else {
                Issue.record("\(error)")
                return
            }
            #expect(error.errno == .canceled && error.description == "Operation canceled")
        }
        #expect(job.state == .null && target.calls.isEmpty && source.calls.isEmpty)
    }
}
