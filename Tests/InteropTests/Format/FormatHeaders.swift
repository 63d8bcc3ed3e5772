// SPDX-License-Identifier: GPL-2.0-or-later

@testable import Qcow2Format

enum FormatHeaders {
    /// The first cluster of an image, decoded and encoded again.
    static func rewritten(_ image: [UInt8]) throws -> [UInt8] {
        let header = try Qcow2Header(decoding: image.span.bytes)
        try ImageLayout.checkClusterBits(header)
        return try HeaderCluster(header: header, decoding: image.span.bytes).encoded()
    }
}
