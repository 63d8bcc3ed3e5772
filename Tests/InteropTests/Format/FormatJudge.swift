// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Foundation
import Qcow2Format
import TestSupport
import Testing

/// What qemu-img says about images that we wrote.
struct FormatJudge {
    let directory: TemporaryDirectory
    let image = "image.qcow2"

    /// Puts a closed image, its data file, its backing file and the expected content into the directory.
    func store(_ model: ImageModel) async throws {
        if let memory = model.file as? MemoryDevice {
            try directory.write(memory.snapshot.allBytes, to: image)
        }
        if let dataFile = model.dataFile { try directory.write(dataFile.snapshot.allBytes, to: "data.raw") }
        if let backing = model.backingBytes { try directory.write(backing, to: "base.raw") }
        try directory.write(model.expected, to: "expected.raw")
    }

    /// No errors and no leaks.
    func check(_ comment: String) async throws {
        let result = try await Program.qemuIMG.run(
            ["check", "-f", "qcow2", image], directory: directory.path, timeout: .seconds(300))
        #expect(result.exitCode == 0, "\(comment): \(result)")
    }

    /// The image's disk holds what was expected.
    func compare(_ comment: String) async throws {
        let result = try await Program.qemuIMG.run(
            ["compare", "-f", "qcow2", "-F", "raw", image, "expected.raw"], directory: directory.path,
            timeout: .seconds(300))
        #expect(result.exitCode == 0, "\(comment): \(result)")
    }

    /// `qemu-img map` and our block status tell the same.
    func map(_ device: Qcow2Image, _ comment: String) async throws {
        let result = try await Program.qemuIMG.runSuccessfully(
            ["map", "--output=json", "-f", "qcow2", image], directory: directory.path, timeout: .seconds(300))
        let theirs = try JSONDecoder().decode([FixtureFacts.MapEntry].self, from: Data(result.outputBytes))
        var index = 0
        var position: UInt64 = 0
        for extent in try await device.extents(length: device.length) {
            var left = extent.length
            while left > 0 {
                try #require(index < theirs.count, "\(comment): map ends at \(position)")
                let entry = theirs[index]
                let count = min(left, entry.start + entry.length - position)
                let inside = position - entry.start
                let done = extent.length - left
                // A data file's and a backing file's holes are the file system's affair, as are those behind clusters
                // that are allocated (zero and data in one).
                if extent.depth == 0, device.dataFile == nil {
                    #expect(extent.readsAsZero == (entry.zero && !entry.data), "\(comment): zero at \(position)")
                }
                if !extent.readsAsZero {
                    #expect(extent.depth == entry.depth, "\(comment): depth at \(position)")
                    // Told since QEMU 8.2.
                    if let isCompressed = entry.compressed {
                        #expect(extent.isCompressed == isCompressed, "\(comment): compressed at \(position)")
                    }
                    if extent.depth == 0 {
                        #expect(
                            extent.location.map { $0.offset + done } == entry.offset.map { $0 + inside },
                            "\(comment): offset at \(position)")
                    }
                }
                position += count
                left -= count
                if position == entry.start + entry.length { index += 1 }
            }
        }
    }

    func judge(_ model: ImageModel) async throws {
        try await store(model)
        try await check("\(model.kind)")
        try await compare("\(model.kind)")
        try await map(model.image, "\(model.kind)")
    }
}
