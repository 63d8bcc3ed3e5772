// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Qcow2Format
import TestSupport
import Testing

/// An image that is written to in all ways at random always reads as a plain array of bytes does.
@Suite struct ImageModelTests {
    static let cases = ImageCase.crossProduct(
        orders: { isHeavyRun ? Array(0...6) : [$0 % 7, ($0 + 3) % 7] }, round: 1)

    @Test(arguments: cases) func randomChanges(kind: ImageCase) async throws {
        let model = try await ImageModel(kind)
        try await model.verify()
        for _ in 0..<(isHeavyRun ? 400 : kind.clusterBits > 18 ? 30 : 80) {
            try await model.step()
        }
        try await model.verify()
        try await model.checkStatus(0..<kind.size)
        try await model.reopen()
        try await model.verify()
        try await model.checkStatus(0..<kind.size)
    }
}
