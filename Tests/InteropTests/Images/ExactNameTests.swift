// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import Foundation
import SystemPackage
import TestSupport
import Testing

/// Names in an image may hold anything: in JSON they are exact, and on a terminal they can't control it.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct ExactNameTests {
    private static let name = "line\nbreak \u{202e}\u{1b}[31m é"

    private struct Info: Decodable {
        struct Snapshot: Decodable { let name: String }
        struct Specific: Decodable {
            struct Data: Decodable {
                struct Bitmap: Decodable { let name: String }
                let bitmaps: [Bitmap]
            }
            let data: Data
        }
        let snapshots: [Snapshot]
        let specific: Specific

        private enum CodingKeys: String, CodingKey {
            case snapshots
            case specific = "format-specific"
        }
    }

    @Test func info() async throws {
        try await withTemporaryDirectory { directory in
            let image = directory.file("image.qcow2")
            try await Peers.create(image, "", 1 << 20)
            try await Program.qemuIMG.runSuccessfully(["bitmap", "--add", image.string, Self.name])
            try await Program.qemuIMG.runSuccessfully(["snapshot", "-c", Self.name, image.string])
            let json = try await Program.qcowbackup.runSuccessfully(["info", "--output=json", image.string])
            let info = try JSONDecoder().decode(Info.self, from: Data(json.outputBytes))
            #expect(info.snapshots.map(\.name) == [Self.name])
            #expect(info.specific.data.bitmaps.map(\.name) == [Self.name])
            for words in [["info", image.string], ["bitmap", "list", image.string]] {
                let text = try await Program.qcowbackup.runSuccessfully(words).standardOutput
                #expect(text.contains(#"line\nbreak \u{202E}\u{1B}[31m é"#), "\(text)")
                #expect(!text.unicodeScalars.contains { $0 == "\u{1b}" || $0 == "\u{202e}" })
            }
            // By its name it is found.
            try await Program.qcowbackup.runSuccessfully(["map", "--snapshot", Self.name, image.string])
            try await Program.qcowbackup.runSuccessfully(["bitmap", "remove", image.string, Self.name])
        }
    }
}
