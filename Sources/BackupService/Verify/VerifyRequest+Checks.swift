// SPDX-License-Identifier: GPL-2.0-or-later

extension VerifyRequest {
    /// Refuses what contradicts itself.
    public func check() throws(ServiceError) {
        if backups.count != 1 {
            if manifest != nil { throw ServiceError(.usage, "--manifest goes with one backup") }
            if source != nil { throw ServiceError(.usage, "--against goes with one backup") }
        }
        if case .sample(let share) = extent, !(share > 0 && share < 1) {
            throw ServiceError(.usage, "a sample is more than 0% and less than 100%")
        }
        if extent == .nothing, duration != nil || source != nil || manifest != nil {
            throw ServiceError(.usage, "--structure looks at no content, which the other options are about")
        }
    }
}
