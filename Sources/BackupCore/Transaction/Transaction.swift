// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Actions that are all done, at one point in time, or not at all.
package struct Transaction {
    /// How the jobs that a transaction starts end. The raw values are QMP's.
    package enum CompletionMode: String, Sendable, CaseIterable {
        /// Each for itself.
        case individual
        /// All well, or all as failed.
        case grouped
    }

    package let actions: [any TransactionAction]
    package let completion: CompletionMode

    package init(_ actions: [any TransactionAction], completion: CompletionMode = .individual) {
        self.actions = actions
        self.completion = completion
    }

    /// Does all actions, and returns once the jobs among them have started: what they back up is what all their sources
    /// held at one moment.
    ///
    /// - Parameter workers: where the jobs run.
    /// - Throws: what the first action that can't be done throws; those before it are undone, the last one first.
    package func perform(on workers: WorkerThreads) async throws(JobError) {
        try await perform(on: workers, threads: workers.count, clock: SystemJobClock())
    }

    func perform(on workers: any TaskExecutor, threads: Int, clock: any JobClock) async throws(JobError) {
        let drained = devices
        for device in drained { await device.beginDrain() }
        defer { for device in drained { device.endDrain() } }
        let group = TransactionGroup(
            workers: workers, threads: threads, clock: clock, shared: completion == .grouped ? JobGroup() : nil)
        var prepared: [any TransactionAction] = []
        do throws(JobError) {
            for action in actions {
                if completion == .grouped, !action.knowsGroupedCompletion {
                    throw .notInGroupedTransaction(action: action.name)
                }
                try await action.prepare(in: group)
                prepared.append(action)
            }
        } catch {
            for action in prepared.reversed() { action.undo() }
            throw error
        }
        for action in actions { action.commit(in: group) }
    }

    /// Each device once, in the order of the actions.
    private var devices: [GuestDevice] {
        var devices: [GuestDevice] = []
        for device in actions.flatMap(\.devices) where !devices.contains(where: { $0 === device }) {
            devices.append(device)
        }
        return devices
    }
}
