// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import DiskChain
import Qcow2Format
import TestSupport
import Testing

@Suite struct MapOperationTests {
    /// What a guest has written to a raw disk is no image, and has no bitmaps.
    @Test func aRawDiskHasNoBitmaps() async throws {
        let directory = try TemporaryDirectory()
        let path = try await directory.makeImage("disk", length: 1 << 20)
        var request = MapRequest(image: path)
        request.format = .raw
        let error = try await refusal {
            _ = try await MapOperation(request) { _ in }.picture(bands: 1, columns: 8, bitmap: "b")
        }
        #expect(error.code == .usage)
        #expect(error.message == "\(path) is a raw disk: only qcow2 images have bitmaps")
    }
}
