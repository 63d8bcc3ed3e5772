// SPDX-License-Identifier: GPL-2.0-or-later

import FormatTestSupport
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// What QEMU says of the persistent bitmaps of an image.
enum BitmapPeers {
    static let areInstalled =
        Program.qemuIMG.isInstalled && Program.qemuIO.isInstalled && Program.qemuNBD.isInstalled
        && Program.nbdinfo.isInstalled
    static let missing: Comment = "qemu-img, qemu-io, qemu-nbd or nbdinfo is missing"

    private struct MapEntry: Decodable {
        var offset: UInt64
        var length: UInt64
        var description: String
    }

    /// All bitmaps with their bits.
    static func state(of image: FilePath) async throws -> BitmapState {
        var state = BitmapState()
        for bitmap in try await Peers.info(image).specific?.data?.bitmaps ?? [] {
            let isInconsistent = bitmap.flags.contains("in-use")
            state.bitmaps.append(
                BitmapState.Bitmap(
                    name: bitmap.name, granularity: bitmap.granularity, isRecording: bitmap.flags.contains("auto"),
                    defect: isInconsistent ? .inconsistent : nil,
                    areas: isInconsistent ? nil : try await areas(of: bitmap.name, in: image)))
        }
        return state
    }

    /// Dirty ranges, as a client of an export sees them.
    static func areas(of bitmap: String, in image: FilePath) async throws -> [Range<UInt64>] {
        let result = try await Program.nbdinfo.runSuccessfully([
            "--json", "--map=qemu:dirty-bitmap:\(bitmap)", "--", "[", "qemu-nbd", "-r", "-f", "qcow2", "-B", bitmap,
            image.string, "]",
        ])
        var areas: [Range<UInt64>] = []
        for entry in try JSONDecoder().decode([MapEntry].self, from: Data(result.outputBytes))
        where entry.description == "dirty" {
            let end = entry.offset + entry.length
            if let last = areas.last, last.upperBound == entry.offset {
                areas[areas.count - 1] = last.lowerBound..<end
            } else {
                areas.append(entry.offset..<end)
            }
        }
        return areas
    }

    static func bitmap(_ image: FilePath, _ arguments: [String], _ name: String) async throws {
        try await Program.qemuIMG.runSuccessfully(["bitmap", "-f", "qcow2"] + arguments + [image.string, name])
    }

    /// Random writes and zero writes of whole sectors, by qemu-io.
    ///
    /// - Returns: the ranges that were touched.
    static func change(
        _ image: FilePath, size: UInt64, count: Int, _ random: inout SeededRandom
    ) async throws -> [Range<UInt64>] {
        var commands: [String] = []
        var ranges: [Range<UInt64>] = []
        for index in 0..<count {
            let range = random.range(below: size, alignment: 512)
            ranges.append(range)
            let (start, length) = (range.lowerBound, range.count)
            switch index % 4 {
            case 0: commands.append("write -q -z \(start) \(length)")
            case 1: commands.append("write -q -z -u \(start) \(length)")
            default: commands.append("write -q -P \(UInt8.random(in: 1...255, using: &random)) \(start) \(length)")
            }
        }
        try await Peers.io(image, commands)
        return ranges
    }
}
