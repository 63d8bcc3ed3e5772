// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import Testing

/// The error with which `body` ends; a failed test where it ends without one.
func refusal(
    sourceLocation: SourceLocation = #_sourceLocation, by body: () async throws -> Void
) async throws -> ServiceError {
    do {
        try await body()
    } catch let error as ServiceError {
        return error
    }
    return try #require(nil as ServiceError?, "an error was expected", sourceLocation: sourceLocation)
}
