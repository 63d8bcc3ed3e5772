// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Whatever call to the file fails: the request that needed it fails, can be tried again, and in the end the image holds
/// what was written and nothing has leaked.
@Suite struct ImageFaultTests {
    struct Case: Sendable, CustomStringConvertible {
        var kind: ImageCase
        var request: RequestKind
        /// Number of calls in a row that fail.
        var burst: Int

        var description: String { "\(kind) \(request.rawValue) burst \(burst)" }
    }

    static let kinds: [ImageCase] = {
        // The refcount table is moved, snapshots apart every path is taken.
        var wide = ImageCase(clusterBits: 9)
        wide.refcountOrder = 6
        var narrow = ImageCase(clusterBits: 9)
        narrow.refcountOrder = 0
        narrow.backing = .unaligned
        var extended = ImageCase(clusterBits: 14)
        extended.hasExtendedL2 = true
        extended.backing = .shorter
        extended.compressionType = .zstd
        var large = ImageCase(clusterBits: 21)
        large.refcountOrder = 3
        return [wide, narrow, extended, large]
    }()

    static let cases = kinds.flatMap { kind in
        ([.read, .write, .resize, .flush, .copyRange] as [RequestKind]).flatMap { request in
            (isHeavyRun ? [1, 3] : [1]).map { Case(kind: kind, request: request, burst: $0) }
        }
    }

    @Test(arguments: cases) func everyCallFailsOnce(one: Case) async throws {
        var number = 1
        while true {
            let file = MemoryDevice(name: "image.qcow2", length: 0)
            let faults = (number..<number + one.burst).map { Fault.call($0, of: one.request) }
            let faulty = FaultInjectingDevice(file, faults: faults)
            let model = try await Self.scenario(one.kind, in: faulty, retries: one.burst + 1)
            try await model.verify()
            let problems = ImageCheck(file.snapshot.allBytes).problems
            #expect(problems.isEmpty, "\(one) call \(number): \(problems.prefix(5)); \(model.log)")
            #expect(model.faults.allSatisfy { $0.errno == .ioError })
            // Past the last call that the scenario makes.
            guard faulty.counts[one.request, default: 0] >= number else { break }
            // Without much time, not every call of a long scenario.
            number += 1 + number / (isHeavyRun ? 20 : 2)
        }
    }

    private static func scenario(
        _ kind: ImageCase, in file: any Storage, retries: Int
    ) async throws -> ImageModel {
        let model = try await ImageModel(kind, in: file, retries: retries)
        let cluster = UInt64(1) << UInt64(kind.clusterBits)
        let clusters = kind.size / cluster
        try await model.write(cluster / 2..<min(70, clusters) * cluster - 100)
        try await model.compress(0..<min(5, clusters) * cluster)
        try await model.reopen()
        try await model.write(100..<cluster + 200)
        try await model.zero(cluster / 3..<min(clusters, 67) * cluster)
        try await model.compress(cluster..<min(9, clusters) * cluster)
        try await model.flush()
        try await model.copy(0..<min(2, clusters) * cluster)
        try await model.reopen()
        try await model.write(kind.size - 700..<kind.size)
        try await model.zero(0..<cluster + cluster / 2)
        try await model.checkRead(0..<kind.size)
        try await model.close()
        return model
    }

    /// A file that fails for good: every request ends with an error, and nothing worse happens.
    @Test(arguments: kinds, [1, 3, 7, 20, 50]) func failsForGood(kind: ImageCase, from number: Int) async throws {
        for request in [RequestKind.read, .write, .resize, .flush] {
            let faulty = FaultInjectingDevice(MemoryDevice(length: 0), faults: [.calls(from: number, of: request)])
            do {
                _ = try await Self.scenario(kind, in: faulty, retries: 1)
                #expect(faulty.counts[request, default: 0] < number)
            } catch {
                #expect((error as? BlockError)?.errno == .ioError, "\(error)")
            }
        }
    }
}
