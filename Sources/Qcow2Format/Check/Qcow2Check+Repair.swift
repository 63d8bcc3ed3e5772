// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO

extension Qcow2Check {
    /// Checks the image, and repairs it.
    ///
    /// - Parameter announce: called with one line for each kind of change, before it is made.
    /// - Throws: `BlockError` where the file fails; a repair that was begun is finished by the next one.
    public func repair(
        _ scope: RepairScope, announce: @escaping (String) -> Void
    ) async throws(BlockError) -> RepairOutcome {
        let (before, run) = try await examine()
        guard let run else {
            announce("nothing is repaired: the header is damaged")
            return RepairOutcome(before: before, after: before)
        }
        return try await ImageRepair(self, announce: announce).repair(scope, before: before, run)
    }
}
