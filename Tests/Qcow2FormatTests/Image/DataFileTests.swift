// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DiskChain
import Qcow2Format
import TestSupport
import Testing

/// The feature bit alone says whether data lies in another file. An image and what it is opened with must agree on that:
/// data would be read from, and written to, the wrong file.
@Suite struct DataFileTests {
    /// An empty image that names a data file.
    private func image() async throws -> MemoryDevice {
        var options = Qcow2Options(size: 1 << 20)
        options.dataFileName = "data.raw"
        let file = MemoryDevice(name: "/folder/image.qcow2", length: 0)
        try await Qcow2Image.create(options, in: file, dataFile: MemoryDevice(length: 0)).close()
        return file
    }

    @Test func nameWithoutFeature() async throws {
        let file = try await image()
        #expect(try await Qcow2File(file).dataFilePath == "/folder/data.raw")
        file.fill([0], at: 79)
        let leftOver = try await Qcow2File(file)
        #expect(!leftOver.references.hasExternalDataFile)
        #expect(leftOver.references.dataFileName == nil)
        #expect(leftOver.dataFilePath == nil)
    }

    @Test(arguments: [false, true]) func missingOrSurplus(forWriting: Bool) async throws {
        let file = try await image()
        let data = MemoryDevice(length: 1 << 20)
        _ = try await Qcow2File(file).open(dataFile: data, forWriting: forWriting)
        await #expect(throws: BlockError.self) { try await Qcow2File(file).open(forWriting: forWriting) }
        file.fill([0], at: 79)
        _ = try await Qcow2File(file).open(forWriting: forWriting)
        await #expect(throws: BlockError.self) {
            try await Qcow2File(file).open(dataFile: data, forWriting: forWriting)
        }
        await #expect(throws: BlockError.self) {
            try await Qcow2Image.create(Qcow2Options(size: 1 << 20), in: MemoryDevice(length: 0), dataFile: data)
        }
    }
}
