// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DiskChain

/// An error of a layer below that says by itself what it means for the user.
protocol ServiceCause: Error {
    var serviceError: ServiceError { get }
}

extension BlockError: ServiceCause {
    var serviceError: ServiceError { ServiceError(self) }
}

extension ChainError: ServiceCause {
    var serviceError: ServiceError { ServiceError(self) }
}

extension JobError: ServiceCause {
    var serviceError: ServiceError { ServiceError(self) }
}

/// Runs work of a layer below, and says what its error means for the user.
func translated<Result, Cause: ServiceCause>(
    _ body: () throws(Cause) -> Result
) throws(ServiceError) -> Result {
    do {
        return try body()
    } catch {
        throw error.serviceError
    }
}

/// Runs work of a layer below, and says what its error means for the user.
func translated<Result, Cause: ServiceCause>(
    _ body: () async throws(Cause) -> Result
) async throws(ServiceError) -> Result {
    do {
        return try await body()
    } catch {
        throw error.serviceError
    }
}
