// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import Testing

@testable import BackupCore

/// What each policy makes of an error.
@Suite struct ErrorPolicyTests {
    static let rows: [(policy: ErrorPolicy, noSpace: ErrorAction, other: ErrorAction)] = [
        (.report, .report, .report), (.ignore, .ignore, .ignore), (.stop, .stop, .stop), (.enospc, .stop, .report),
        (.auto, .stop, .report),
    ]

    @Test func actions() {
        #expect(Self.rows.map(\.policy) == ErrorPolicy.allCases)
        for row in Self.rows {
            #expect(row.policy.action(for: .noSpace) == row.noSpace)
            #expect(
                row.policy.action(for: .ioError) == row.other && row.policy.action(for: .permissionDenied) == row.other)
        }
    }
}
