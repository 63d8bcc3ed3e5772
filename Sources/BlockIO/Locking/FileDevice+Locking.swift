// SPDX-License-Identifier: GPL-2.0-or-later

extension FileDevice {
    /// What the user should know of the file's lock; `nil` where it is as it should be, or none was asked for.
    ///
    /// - Parameter advice: what to see to oneself.
    public func lockWarning(_ advice: String) -> String? {
        if let reason = lockUnavailable { return "\(name) can't be locked (\(reason.errno)): \(advice)" }
        return isLockedClassically ? "\(name) is locked by the weaker means that the system has: \(advice)" : nil
    }
}
