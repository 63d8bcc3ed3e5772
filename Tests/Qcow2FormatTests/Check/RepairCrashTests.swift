// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import TestSupport
import Testing

@testable import Qcow2Format

/// A crash between any two writes of a repair, with or without some of the writes since the last flush, leaves everything
/// readable that was, and an image that another repair brings to where the first would have.
@Suite(.timeLimit(.minutes(isHeavyRun ? 60 : 5))) struct RepairCrashTests {
    @Test(arguments: RepairTests.kinds.indices) func everyWrite(kind: Int) async throws {
        let kind = RepairTests.kinds[kind]
        let model = try await ImageDamage.image(kind)
        let original = (model.file as! MemoryDevice).snapshot.allBytes
        var random = SeededRandom(seed: UInt64(kind.clusterBits) * 7 + 1)
        var tested = 0
        for round in 0..<(isHeavyRun ? 300 : 40) where tested < (isHeavyRun ? 100 : 6) {
            var bytes = original
            ImageDamage.apply(to: &bytes, &random)
            if round == 0 {
                // One that is rebuilt.
                bytes = original
                bytes[Int(try bytes.span.bytes.bigEndian(at: 48, as: UInt64.self)) + 7] ^= 1
            }
            let content = SparseBytes(bytes)
            let recorder = FaultInjectingDevice(RepairTests.device(content))
            recorder.startRecording(initial: content)
            let outcome = try await Qcow2Check(recorder).repair(.all) { _ in }
            let recording = try #require(recorder.recording)
            guard outcome.after.isClean, !recording.requests.isEmpty else { continue }
            tested += 1
            #expect(recording.requests.last?.isFlush == true, "durable when it ends")
            let before = await ImageDamage.readable(content, dataFile: model.dataFile, backing: model.backing)
            let step = isHeavyRun ? 1 : max(recording.requests.count / 12, 1)
            for count in stride(from: 0, through: recording.requests.count, by: step) {
                for crashed in [
                    recording.content(afterPrefix: count), recording.contentKeepingLast(ofPrefix: count),
                    recording.content(afterPrefix: count, losingSome: &random),
                ] {
                    let now = await ImageDamage.readable(crashed, dataFile: model.dataFile, backing: model.backing)
                    #expect(
                        ImageDamage.firstLoss(from: before, to: now) == nil, "\(kind), round \(round), after \(count)")
                    let device = RepairTests.device(crashed)
                    let next = try await Qcow2Check(device).repair(.all) { _ in }
                    #expect(
                        next.after.isClean,
                        "\(kind), round \(round), after \(count): \(next.after.problems.prefix(3))")
                    let end = await ImageDamage.readable(
                        device.snapshot, dataFile: model.dataFile, backing: model.backing)
                    #expect(
                        ImageDamage.firstLoss(from: before, to: end) == nil, "\(kind), round \(round), after \(count)")
                }
            }
        }
        #expect(tested > 2)
    }
}
