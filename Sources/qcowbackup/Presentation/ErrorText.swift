// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// An error or a warning as one line for a person.
enum ErrorText {
    static func error(_ error: ServiceError) -> String {
        let advice = error.advice.map { " (\(printable($0)))" } ?? ""
        return "qcowbackup: \(printable(error.message))\(advice)"
    }

    static func warning(_ message: String) -> String {
        "qcowbackup: warning: \(printable(message))"
    }
}
