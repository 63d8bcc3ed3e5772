// SPDX-License-Identifier: GPL-2.0-or-later

/// What a check of an image's structure found.
package struct CheckReport: Sendable {
    /// Clusters of the disk.
    package internal(set) var totalClusters: UInt64 = 0
    package internal(set) var allocatedClusters: UInt64 = 0
    /// Allocated clusters that don't follow the one before them, and compressed ones.
    package internal(set) var fragmentedClusters: UInt64 = 0
    package internal(set) var compressedClusters: UInt64 = 0
    /// Bytes up to the end of the last cluster in use; 0 where nothing could be checked.
    package internal(set) var imageEndOffset: UInt64 = 0
    /// Bytes up to the end of the last cluster in use of the external data file; 0 for images without one.
    package internal(set) var dataFileEnd: UInt64 = 0
    package internal(set) var corruptions: UInt64 = 0
    package internal(set) var leaks: UInt64 = 0
    /// Parts of the image that could not be checked.
    package internal(set) var checkErrors: UInt64 = 0
    /// The first problems of each kind.
    package internal(set) var problems: [CheckProblem] = []
    /// How many problems of each kind there are.
    package internal(set) var counts: [CheckProblem.Kind: UInt64] = [:]
    /// How many problems of each kind there are beyond those that are listed.
    package internal(set) var omitted: [CheckProblem.Kind: UInt64] = [:]

    package init() {}

    /// Adds a problem that lies outside the image file: a part of the check could not be made.
    package mutating func addUnchecked(_ subject: String, _ reason: String) {
        problems.append(
            CheckProblem(
                kind: .otherFile, severity: .unchecked, subject: subject, hostOffset: nil, guestOffset: nil,
                reason: reason, count: 1))
        counts[.otherFile, default: 0] += 1
        checkErrors += 1
    }

    /// Adds that an external data file ends more than a cluster before what the image says is stored there.
    package mutating func addCutDataFile(_ path: String, length: UInt64) {
        problems.append(
            CheckProblem(
                kind: .clusterPastEnd, severity: .corruption, subject: "data file", hostOffset: nil, guestOffset: nil,
                reason:
                    "\(path) ends after \(length) bytes, and clusters of the disk up to byte \(dataFileEnd) lie there; "
                    + "a repair leaves it as it is (truncate -s \(dataFileEnd) gives it zeroes for what is lost)",
                count: 1))
        counts[.clusterPastEnd, default: 0] += 1
        corruptions += 1
    }

    mutating func take(_ log: ProblemLog) {
        corruptions = log.corruptions
        leaks = log.leaks
        checkErrors = log.unchecked
        problems = log.problems
        counts = log.counts
        omitted = log.omitted
    }

    /// Whether nothing but warnings was found.
    package var isClean: Bool { corruptions == 0 && leaks == 0 && checkErrors == 0 }
}
