// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Qcow2Format
import SystemPackage
import TestSupport

/// The numbers of a check, as JSON has them; what is left out is 0.
struct CheckNumbers: Decodable, Equatable {
    var imageEndOffset: UInt64?
    var totalClusters: UInt64?
    var allocatedClusters: UInt64?
    var fragmentedClusters: UInt64?
    var compressedClusters: UInt64?
    var checkErrors: UInt64
    var corruptions: UInt64?
    var leaks: UInt64?
    var format: String

    private enum CodingKeys: String, CodingKey {
        case imageEndOffset = "image-end-offset"
        case totalClusters = "total-clusters"
        case allocatedClusters = "allocated-clusters"
        case fragmentedClusters = "fragmented-clusters"
        case compressedClusters = "compressed-clusters"
        case checkErrors = "check-errors"
        case corruptions, leaks, format
    }

    /// Errors that qemu-img's check doesn't see, though reading them fails there too.
    static let ownKinds: [CheckProblem.Kind] = [.zeroFlag, .clusterMisplaced]

    /// - Parameter kinds: errors that don't count.
    init(_ report: CheckReport, without kinds: [CheckProblem.Kind] = []) {
        let others = kinds.reduce(0) { $0 + report.counts[$1, default: 0] }
        func some(_ number: UInt64) -> UInt64? { number == 0 ? nil : number }
        imageEndOffset = some(report.imageEndOffset)
        totalClusters = some(report.totalClusters)
        allocatedClusters = some(report.allocatedClusters)
        fragmentedClusters = some(report.fragmentedClusters)
        compressedClusters = some(report.compressedClusters)
        checkErrors = report.checkErrors
        corruptions = some(report.corruptions - others)
        leaks = some(report.leaks)
        format = "qcow2"
    }

    /// The exit code of a check with these numbers.
    var exitCode: Int32 {
        if checkErrors > 0 { return 1 }
        return corruptions != nil ? 2 : leaks != nil ? 3 : 0
    }

    /// What qemu-img says; no numbers where it could not open the image.
    static func ofPeer(
        _ image: FilePath, in directory: FilePath? = nil
    ) async throws -> (exitCode: Int32, numbers: CheckNumbers?, error: String) {
        let result = try await Program.qemuIMG.run(
            ["check", "--output=json", "-f", "qcow2", image.string], directory: directory)
        let numbers = try? JSONDecoder().decode(CheckNumbers.self, from: Data(result.outputBytes))
        return (result.exitCode, numbers, result.standardError)
    }
}
