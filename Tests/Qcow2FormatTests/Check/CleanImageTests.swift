// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import TestSupport
import Testing

@testable import Qcow2Format

/// What a check calls clean, at once or after a repair, can be read. Whether compressed data are what they should be is not
/// looked at by a check.
@Suite(.timeLimit(.minutes(isHeavyRun ? 60 : 5))) struct CleanImageTests {
    /// Reads all of the active state and of the snapshots; the first thing that can't be read.
    static func firstFailure(
        _ device: any Storage, dataFile: (any Storage)? = nil, backing: (any BlockDevice)? = nil
    ) async -> BlockError? {
        do throws(BlockError) {
            let file = try await Qcow2File(device)
            let (data, below) = (
                file.references.hasExternalDataFile ? dataFile : nil,
                file.references.backingFileName == nil ? nil : backing
            )
            let disk = try await file.open(dataFile: data, backing: below)
            if let error = await firstFailure(in: disk) { return error }
            for snapshot in try await file.snapshots() where snapshot.diskSize <= 1 << 40 {
                let disk = try await file.open(snapshot: snapshot.id, dataFile: data, backing: below)
                if let error = await firstFailure(in: disk) { return error }
            }
            return nil
        } catch {
            // Names of other files are looked at by who knows where these are.
            return "\(error)".contains("is not UTF-8 text") ? nil : error
        }
    }

    private static func firstFailure(in disk: Qcow2Image) async -> BlockError? {
        for start in stride(from: 0, to: min(disk.length, 1 << 20), by: 4096) {
            do throws(BlockError) {
                _ = try await disk.bytes(at: start, count: Int(min(4096, disk.length - start)))
            } catch {
                if case .layer(let cause) = error, case .compressedCluster? = (cause as? Qcow2Error)?.problem {
                    continue
                }
                return error
            }
        }
        return nil
    }

    @Test(arguments: RepairTests.kinds.indices, 0..<4) func damaged(kind: Int, seed: Int) async throws {
        let model = try await ImageDamage.image(RepairTests.kinds[kind])
        let original = (model.file as! MemoryDevice).snapshot.allBytes
        var random = SeededRandom(seed: UInt64(kind * 100 + seed + 7000))
        var clean = 0
        for round in 0..<(isHeavyRun ? 3000 : 60) {
            var bytes = original
            ImageDamage.apply(to: &bytes, &random)
            let device = RepairTests.device(SparseBytes(bytes))
            let report = try await Qcow2Check(device).run()
            if report.isClean {
                let error = await Self.firstFailure(device, dataFile: model.dataFile, backing: model.backing)
                #expect(error == nil, "round \(round): \(report.problems)")
            }
            let outcome = try await Qcow2Check(device).repair(.all) { _ in }
            guard outcome.after.isClean else { continue }
            clean += 1
            let error = await Self.firstFailure(device, dataFile: model.dataFile, backing: model.backing)
            #expect(error == nil, "round \(round), repaired: \(outcome.before.problems.prefix(5))")
        }
        #expect(clean > 10)
    }
}
