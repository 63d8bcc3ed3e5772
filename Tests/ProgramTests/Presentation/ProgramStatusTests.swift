// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import Glibc
import Testing

@testable import qcowbackup

/// The exit codes that scripts rely on, row by row.
@Suite struct ProgramStatusTests {
    private static let rows: [ServiceError.Code: Int32] = [
        .usage: 2, .locked: 11, .notFound: 1, .exists: 1, .permission: 1, .noSpace: 1, .corrupt: 1, .unsupported: 1,
        .cancelled: 1, .io: 1, .inconsistent: 1, .bitmapNotUpdated: 1,
    ]

    @Test(arguments: ServiceError.Code.allCases)
    func withoutASignal(code: ServiceError.Code) throws {
        #expect(ProgramStatus(code).code == (try #require(Self.rows[code])))
    }

    /// A run that failed by itself while a signal was under way keeps its code.
    @Test(arguments: ServiceError.Code.allCases, [SIGINT, SIGTERM, SIGHUP])
    func afterASignal(code: ServiceError.Code, signal: Int32) throws {
        let expected = code == .cancelled ? 128 + signal : try #require(Self.rows[code])
        #expect(ProgramStatus(code, signal: signal).code == expected)
    }

    /// A backup that is complete while its bitmap isn't up to it.
    @Test func bitmapFailure() {
        var summary = BackupSummary(target: "t", unreadable: [0..<512])
        #expect(ProgramStatus(summary, isStrict: false) == .incomplete)
        summary.bitmapFailure = ServiceError(.bitmapNotUpdated, "no")
        #expect(ProgramStatus(summary, isStrict: false) == .failed)
    }

    @Test func fixedCodes() {
        #expect(ProgramStatus.success.code == 0)
        #expect(ProgramStatus.failed.code == 1)
        #expect(ProgramStatus.usage.code == 2)
        #expect(ProgramStatus.incomplete.code == 3)
        #expect(ProgramStatus.fallback.code == 4)
        #expect(ProgramStatus.unchanged.code == 5)
        #expect(ProgramStatus.locked.code == 11)
        #expect(ProgramStatus.signal(SIGINT).code == 130)
        #expect(ProgramStatus.signal(SIGTERM).code == 143)
    }
}
