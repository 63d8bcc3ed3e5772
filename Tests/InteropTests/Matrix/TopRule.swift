// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// What sync=top copies: the clusters of which the topmost image holds a part, and no others.
enum TopRule {
    /// Checks the target of a backup, which has the source's backing file.
    ///
    /// - Parameter targetClusterSize: in bytes.
    static func expect(
        _ target: FilePath, toHoldWhatIsIn source: FilePath, targetClusterSize: UInt64, _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        // The unit of copying.
        let cluster = max(65536, targetClusterSize)
        let map = try await Peers.map(source)
        let length = map.last.map { $0.start + $0.length } ?? 0
        var isCopied = [Bool](repeating: false, count: Int((length + cluster - 1) / cluster))
        for entry in map where entry.isInTopLayer && entry.length > 0 {
            for index in entry.start / cluster...(entry.start + entry.length - 1) / cluster {
                isCopied[Int(index)] = true
            }
        }
        for entry in try await Peers.map(target) where entry.length > 0 {
            for index in entry.start / cluster...(entry.start + entry.length - 1) / cluster {
                if entry.isInTopLayer {
                    #expect(
                        isCopied[Int(index)], "the source does not hold cluster \(index): \(entry) \(comment ?? "")",
                        sourceLocation: sourceLocation)
                } else if isCopied[Int(index)] {
                    // Where nothing shows through, zeroes need not be stored.
                    #expect(
                        entry.zero, "cluster \(index): \(entry) \(comment ?? "")",
                        sourceLocation: sourceLocation)
                }
            }
        }
    }
}

extension FixtureFacts.MapEntry {
    fileprivate var isInTopLayer: Bool { present && depth == 0 }
}
