// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

/// A cancelled task gets nothing more from any device, unless it says that its work must be completed.
@Suite(.timeLimit(.minutes(5)))
struct CancellationTests {
    private static func request(_ device: any BlockDevice) async -> [String] {
        var refusals: [String] = []
        do throws(BlockError) { _ = try await device.contents(at: 0, count: 512) } catch { refusals.append("\(error)") }
        do throws(BlockError) {
            _ = try await device.blockStatus(at: 0, length: 512, in: .chain)
        } catch {
            refusals.append("\(error)")
        }
        do throws(BlockError) { try await device.writeZeroes(at: 0, length: 512) } catch { refusals.append("\(error)") }
        return refusals
    }

    /// What requests of a task say that is cancelled before its first one.
    private static func afterCancellation(
        _ body: @escaping @Sendable () async -> [String]
    ) async -> [String] {
        let gate = Gate()
        let task = Task {
            await gate.wait()
            return await body()
        }
        task.cancel()
        gate.open()
        return await task.value
    }

    private static func devices(in directory: TemporaryDirectory) throws -> [any Storage] {
        try directory.write([UInt8](repeating: 1, count: 4096), to: "disk.raw")
        let file = try LocalStorage.open(directory.file("disk.raw").string, access: .readWrite, lock: nil)
        return [file, MemoryDevice(length: 4096), LimitedDevice(MemoryDevice(length: 4096), length: 2048)]
    }

    @Test func cancelledTasksAreRefused() async throws {
        for device in try Self.devices(in: TemporaryDirectory()) {
            #expect(await Self.request(device) == [])
            let refusals = await Self.afterCancellation { await Self.request(device) }
            #expect(refusals == ["cancelled", "cancelled", "cancelled"], "\(device.name)")
        }
    }

    @Test func flushingIsRefusedToo() async throws {
        let device = try Self.devices(in: TemporaryDirectory())[0]
        let refusals = await Self.afterCancellation {
            do throws(BlockError) {
                try await device.flush()
                return []
            } catch {
                return ["\(error)"]
            }
        }
        #expect(refusals == ["cancelled"])
    }

    @Test func whatMustBeCompletedGoesOn() async {
        let device = MemoryDevice(length: 4096)
        let refusals = await Self.afterCancellation {
            let inside = await Cancellation.ignoring {
                // Those who work for it as well.
                await withTaskGroup(of: [String].self) { group in
                    group.addTask { await Self.request(device) }
                    return await group.reduce(into: []) { $0 += $1 }
                }
            }
            return inside + (await Self.request(device))
        }
        #expect(refusals == ["cancelled", "cancelled", "cancelled"])
    }
}
