// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Qcow2Format
import TestSupport
import Testing

/// qemu-img finds images that we made and changed at random without errors and without leaks, and reads what was written.
@Suite(.enabled(if: Program.qemuIMG.isInstalled, "qemu-img is not installed"))
struct FormatWritingTests {
    static let cases = ImageCase.crossProduct(orders: { isHeavyRun ? [$0 % 7, ($0 + 3) % 7, ($0 + 4) % 7] : [$0 % 7] })

    @Test(arguments: cases) func randomChanges(kind: ImageCase) async throws {
        let model = try await ImageModel(kind)
        for _ in 0..<(kind.clusterBits > 18 ? (isHeavyRun ? 25 : 10) : isHeavyRun ? 160 : 20) {
            try await model.step()
        }
        try await model.verify()
        try await model.image.close()
        try await FormatJudge(directory: TemporaryDirectory()).judge(model)
    }

    /// Nothing in it but what the header and the tables need.
    @Test(arguments: cases) func emptyImage(kind: ImageCase) async throws {
        let model = try await ImageModel(kind)
        try await model.image.close()
        try await FormatJudge(directory: TemporaryDirectory()).judge(model)
    }

    /// Compressed clusters only, again and again, so that shared host clusters are given back bit by bit.
    @Test(arguments: cases.filter { $0.dataFile == .none })
    func compressedOverAndOver(kind: ImageCase) async throws {
        let model = try await ImageModel(kind)
        for _ in 0..<(kind.clusterBits > 18 ? 4 : 12) {
            try await model.compress(model.random.range(below: kind.size, alignment: 1 << UInt64(kind.clusterBits)))
        }
        try await model.verify()
        try await model.image.close()
        try await FormatJudge(directory: TemporaryDirectory()).judge(model)
    }
}
