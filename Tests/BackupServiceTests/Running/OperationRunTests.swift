// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import BackupService

/// An operation that was cancelled ends as cancelled where that explains its failure, and else says what failed.
@Suite struct OperationRunTests {
    /// - Parameter asks: whether the operation asks something of a device once it is cancelled.
    private func failure(of error: ServiceError, asks: Bool) async throws -> ServiceError {
        let operation = OperationRun()
        return try await refusal {
            let _: Int = try await operation(threads: 1) { _ async throws(ServiceError) in
                operation.cancel()
                if asks { _ = try? await MemoryDevice(length: 512).contents(at: 0, count: 512) }
                throw error
            }
        }
    }

    @Test(arguments: [ServiceError.Code.exists, .notFound, .corrupt, .unsupported, .inconsistent])
    func looksThatWereRefused(code: ServiceError.Code) async throws {
        let error = ServiceError(code, "a file is not what it should be", advice: "look at it")
        #expect(try await failure(of: error, asks: true) == .cancelled)
        // What holds the only copy, for example, must be said.
        #expect(try await failure(of: error, asks: false) == error)
    }

    @Test(arguments: [ServiceError.Code.io, .noSpace, .permission, .locked])
    func failuresOfTheSystem(code: ServiceError.Code) async throws {
        let error = ServiceError(code, "the disk is full")
        #expect(try await failure(of: error, asks: true) == error)
    }
}
