// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BinaryCoding
import TestSupport

/// Manifests. Nobody gets past the digests by chance, so what is fuzzed has its root and its seal made for it.
enum ManifestFuzzing {
    /// - Parameter input: a byte of choices, the virtual size (8 bytes, big-endian), and the digests in binary form; or
    ///   the byte, and a whole document without its seal.
    static func decode(_ input: [UInt8]) async {
        guard let choices = input.first else { return }
        let algorithm: DigestAlgorithm = choices & 1 == 0 ? .xxh3 : .sha256
        let isWhole = choices & 2 == 0
        var document: [UInt8]
        if choices & 4 == 0 {
            guard let size: UInt64 = try? input.span.bytes.bigEndian(at: 1) else { return }
            let body = input[9...]
            let rooted = input[1..<9] + [isWhole ? 0 : 1] + body
            let root = algorithm.digest(of: Array(rooted).span.bytes)
            let line =
                #"{"body-length":\#(body.count),"content":"\#(root)","created":"2026-01-01T00:00:00Z","#
                + #""digest":"\#(algorithm.rawValue)","id":"0","range":1048576,"#
                + #""source":{"format":"raw","length":0,"path":"a"},"sync":"full","#
                + #""target":{"format":"raw","name":"b"},"unit":65536,"unreadable":[],"virtual-size":\#(size),"#
                + #""whole-disk":\#(isWhole),"writer":"c"}"#
            document = Array("qcowbackup manifest 1\n\(line)\n".utf8) + body
        } else {
            document = Array(input.dropFirst())
        }
        let seal = Array(algorithm.digest(of: document.span.bytes).description.utf8)
        for index in stride(from: 0, to: seal.count, by: 2) {
            guard let byte = UInt8(String(decoding: seal[index..<index + 2], as: UTF8.self), radix: 16) else {
                fatalError("digests are written in hexadecimal")
            }
            document.append(byte)
        }
        guard let manifest = try? await Manifest(reading: MemoryDevice(name: "manifest", bytes: document)) else {
            return
        }
        require(manifest.digests.heldLength <= manifest.header.virtualSize, "it holds more than there is")
        for range in 0..<min(manifest.digests.geometry.rangeCount, 64) {
            _ = try? await manifest.digests.digest(ofRange: range)
            _ = try? await manifest.digests.heldUnits(ofRange: range)
        }
    }
}
