// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockIO

/// Whatever the kernel makes of a call (part of it, nothing yet, a refusal), files hold what was written and are read as
/// they are.
@Suite struct FileCallsTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func device(
        _ calls: FileCalls, _ access: StorageAccess = .create, lock: ImageLockMode? = nil
    ) throws -> FileDevice {
        try FileDevice(
            path: directory.file("disk.raw").string, access: access, lock: lock, copyRange: .always, calls: calls)
    }

    enum Peculiarity: CaseIterable {
        case short, interrupted, noHoles, noDirect, directWritesRefused, directReadsRefused, noCacheStatus, allCached
        case noneCached, halfCached, longPages

        func apply(to calls: inout FileCalls) {
            let real = FileCalls()
            let count = Locked(0)
            // Every other call.
            let isOdd: @Sendable () -> Bool = {
                count.withLock { count in
                    count += 1
                    return count % 2 == 1
                }
            }
            switch self {
            case .short:
                // Direct calls move whole sectors, if less than all.
                calls.read = { real.read($0, UnsafeMutableRawBufferPointer(rebasing: $1.prefix(4096)), $2) }
                calls.write = { real.write($0, UnsafeRawBufferPointer(rebasing: $1.prefix(4096)), $2) }
                calls.copyRange = { real.copyRange($0, $1, $2, $3, min($4, 5000)) }
            case .interrupted:
                calls.read = { isOdd() ? .failure(.interrupted) : real.read($0, $1, $2) }
                calls.write = { isOdd() ? .failure(.interrupted) : real.write($0, $1, $2) }
                calls.punchHole = { isOdd() ? .failure(.interrupted) : real.punchHole($0, $1, $2) }
                calls.copyRange = { isOdd() ? .failure(.interrupted) : real.copyRange($0, $1, $2, $3, $4) }
                calls.resize = { isOdd() ? .failure(.interrupted) : real.resize($0, $1) }
                calls.sync = { isOdd() ? .failure(.interrupted) : real.sync($0) }
            case .noHoles: calls.punchHole = { _, _, _ in .failure(.notSupported) }
            case .noDirect: calls.openDirect = Self.refuse
            case .directWritesRefused:
                let direct = Self.watchDirect(&calls)
                calls.write = { direct.contains($0) ? .failure(.invalidArgument) : real.write($0, $1, $2) }
            case .directReadsRefused:
                let direct = Self.watchDirect(&calls)
                calls.cachedLength = { _, _, _ in 0 }
                calls.read = { direct.contains($0) ? .failure(.invalidArgument) : real.read($0, $1, $2) }
            case .noCacheStatus: calls.cachedLength = { _, _, _ in nil }
            case .allCached: calls.cachedLength = { $2 }
            case .noneCached: calls.cachedLength = { _, _, _ in 0 }
            case .halfCached:
                calls.cachedLength = { $2 > 1 << 20 ? $2 / 2 : $1 / (512 << 10) % 2 == 0 ? $2 : 0 }
            case .longPages: calls.cachedLength = { $2 + 65536 }
            }
        }

        private static let refuse: @Sendable (String, Int32) throws(BlockError) -> OwnedDescriptor = {
            (path, _) throws(BlockError) in
            throw .system(SystemCallError(call: "open", errno: .invalidArgument, path: path))
        }

        static func watchDirect(_ calls: inout FileCalls) -> Descriptors {
            let descriptors = Descriptors()
            let open = calls.openDirect
            calls.openDirect = { (path, flags) throws(BlockError) in
                let descriptor = try open(path, flags)
                descriptors.insert(descriptor.rawValue)
                return descriptor
            }
            return descriptors
        }
    }

    final class Descriptors: Sendable {
        private let all = Locked<Set<Int32>>([])

        func insert(_ descriptor: Int32) { all.withLock { _ = $0.insert(descriptor) } }
        func contains(_ descriptor: Int32) -> Bool { all.withLock { $0.contains(descriptor) } }
        var isEmpty: Bool { all.withLock { $0.isEmpty } }
    }

    /// Writes, zeroes, copies and reads of all alignments, against an array.
    @Test(arguments: Peculiarity.allCases)
    func againstAnArray(_ peculiarity: Peculiarity) async throws {
        let length = 3 << 20
        var calls = FileCalls()
        peculiarity.apply(to: &calls)
        let file = try device(calls)
        try await file.resize(to: UInt64(length))
        var random = SeededRandom(seed: 3)
        var expected = [UInt8](repeating: 0, count: length)
        var buffer = AlignedBuffer(count: length + 4096)
        for step in 0..<60 {
            let range = random.range(below: UInt64(length), alignment: [1, 512, 4096][step % 3])
            let place = Int(range.lowerBound)..<Int(range.upperBound)
            let inside = place.lowerBound % 4096
            switch step % 5 {
            case 0:
                try await file.writeZeroes(at: range.lowerBound, length: UInt64(range.count))
                expected.replaceSubrange(place, with: [UInt8](repeating: 0, count: place.count))
            case 1:
                let count = min(place.count, length - place.upperBound, place.lowerBound)
                guard count > 0 else { continue }
                // Copies need not be possible.
                guard
                    (try? await file.copyRange(
                        from: StorageLocation(device: file, offset: 0), to: range.upperBound, length: UInt64(count)))
                        != nil
                else { continue }
                expected.replaceSubrange(place.upperBound..<place.upperBound + count, with: expected[0..<count])
            default:
                let content = random.bytes(count: place.count)
                var bytes = buffer.mutableBytes
                bytes.copy(content.span.bytes, at: inside)
                try await file.write(
                    at: range.lowerBound, from: buffer.bytes.extracting(inside..<inside + place.count))
                expected.replaceSubrange(place, with: content)
            }
            let around = max(place.lowerBound - 5000, 0)..<min(place.upperBound + 5000, length)
            let start = around.lowerBound % 4096
            var span = buffer.mutableSlice(start..<start + around.count)
            try await file.read(at: UInt64(around.lowerBound), into: &span)
            let read = buffer.bytes.extracting(start..<start + around.count).withUnsafeBytes { [UInt8]($0) }
            #expect(haveSameBytes(read, Array(expected[around])), "step \(step)")
        }
        try await file.flush()
        #expect(haveSameBytes(try directory.read("disk.raw"), expected))
    }

    /// What isn't in the page cache is read past it, and what is, is not.
    @Test func cachedAndUncached() async throws {
        let block = Int(CacheMap.blockLength)
        let content = (0..<16).flatMap { [UInt8](repeating: UInt8($0 + 1), count: block) }
        try directory.write(content, to: "disk.raw")
        var calls = FileCalls()
        let direct = Peculiarity.watchDirect(&calls)
        let reads = Locked<[(isDirect: Bool, range: Range<UInt64>)]>([])
        let asked = Locked(0)
        calls.cachedLength = { _, offset, length in
            asked.withLock { $0 += 1 }
            if length > UInt64(block) { return length / 2 }
            return offset / UInt64(block) % 4 < 2 ? length : 0
        }
        calls.read = { descriptor, memory, offset in
            let range = UInt64(offset)..<UInt64(offset) + UInt64(memory.count)
            reads.withLock { $0.append((direct.contains(descriptor), range)) }
            return FileCalls().read(descriptor, memory, offset)
        }
        let file = try device(calls, .readOnly)
        var buffer = AlignedBuffer(count: content.count)
        var bytes = buffer.mutableBytes
        try await file.read(at: 0, into: &bytes)
        try #require(!direct.isEmpty, "the file system of temporary files takes no direct I/O")
        #expect(buffer.bytes.firstDifference(from: content.span.bytes) == nil)
        let expected = (0..<8).map { ($0 % 2 == 1, UInt64($0 * 2 * block)..<UInt64(($0 + 1) * 2 * block)) }
        #expect(reads.withLock { reads in zip(reads, expected).allSatisfy { $0.0 == $1.0 && $0.1 == $1.1 } })
        #expect(reads.withLock { $0.count } == 8)
        // What the kernel reads ahead meanwhile is no reason to go through the cache.
        let count = asked.withLock { $0 }
        var again = buffer.mutableBytes
        try await file.read(at: 0, into: &again)
        #expect(asked.withLock { $0 } == count)
        #expect(reads.withLock { $0.count } == 16)
    }

    /// Of a sparse file little can be in the page cache, and yet all that it holds.
    @Test func cachedIslands() async throws {
        let block = CacheMap.blockLength
        let island: UInt64 = 65536
        do {
            let file = try device(FileCalls())
            try await file.resize(to: 8 * block)
            for index in 0..<8 {
                try await file.write(at: UInt64(index) * block, bytes: [UInt8](repeating: 1, count: Int(island)))
            }
        }
        var calls = FileCalls()
        let direct = Peculiarity.watchDirect(&calls)
        // Those of the odd blocks are in the cache.
        calls.cachedLength = { _, offset, length in
            if length > block { return 4 * island }
            guard offset / block % 2 == 1 else { return 0 }
            return min(length, island - min(offset % block, island))
        }
        let isDirect = Locked<[Bool]>([])
        calls.read = { descriptor, memory, offset in
            isDirect.withLock { $0.append(direct.contains(descriptor)) }
            return FileCalls().read(descriptor, memory, offset)
        }
        let file = try device(calls, .readOnly)
        var buffer = AlignedBuffer(count: Int(island))
        for index in 0..<8 {
            var bytes = buffer.mutableBytes
            try await file.read(at: UInt64(index) * block, into: &bytes)
        }
        try #require(!direct.isEmpty, "the file system of temporary files takes no direct I/O")
        #expect(isDirect.withLock { $0 } == (0..<8).map { $0 % 2 == 0 })
    }

    /// The cache is looked at a region ahead of what is read.
    @Test func cacheStatusIsAhead() async throws {
        let region = CacheMap.regionLength
        let regions = Locked<[UInt64]>([])
        var calls = FileCalls()
        calls.cachedLength = { _, offset, _ in
            regions.withLock { $0.append(offset / region) }
            return 0
        }
        let file = try device(calls)
        try await file.resize(to: 4 * region + 5000)
        var buffer = AlignedBuffer(count: 8192)
        for index in 0..<5 as Range<UInt64> {
            var bytes = buffer.mutablePrefix(4096)
            try await file.read(at: index * region, into: &bytes)
            #expect(regions.withLock { $0 } == Array(0...min(index + 1, 4)))
        }
    }

    struct Failing {
        var change: @Sendable (inout FileCalls) -> Void
        var errno: Errno
    }

    static let failing = [
        Failing(change: { $0.write = { _, _, _ in .success(0) } }, errno: .noSpace),
        Failing(change: { $0.write = { _, _, _ in .failure(.ioError) } }, errno: .ioError),
        Failing(change: { $0.punchHole = { _, _, _ in .failure(.ioError) } }, errno: .ioError),
        Failing(change: { $0.read = { _, _, _ in .failure(.ioError) } }, errno: .ioError),
        Failing(change: { $0.sync = { _ in .failure(.ioError) } }, errno: .ioError),
        Failing(change: { $0.resize = { _, _ in .failure(.noSpace) } }, errno: .noSpace),
    ]

    /// Real failures are reported, by direct and by cached I/O.
    @Test(arguments: failing.indices, [0, 100])
    func failures(index: Int, shift: Int) async throws {
        try directory.write([UInt8](repeating: 1, count: 1 << 20), to: "disk.raw")
        var calls = FileCalls()
        calls.cachedLength = { _, _, _ in 0 }
        Self.failing[index].change(&calls)
        let file = try device(calls)
        var buffer = AlignedBuffer(count: 1 << 20)
        var failures: [Errno?] = []
        do throws(BlockError) {
            try await file.write(at: UInt64(shift), from: buffer.prefix(65536))
        } catch { failures.append(error.errno) }
        do throws(BlockError) {
            try await file.writeZeroes(at: UInt64(shift), length: 65536)
        } catch { failures.append(error.errno) }
        do throws(BlockError) {
            var bytes = buffer.mutablePrefix(65536)
            try await file.read(at: UInt64(shift), into: &bytes)
        } catch { failures.append(error.errno) }
        do throws(BlockError) { try await file.flush() } catch { failures.append(error.errno) }
        do throws(BlockError) { try await file.resize(to: 2 << 20) } catch { failures.append(error.errno) }
        #expect(failures == [Self.failing[index].errno])
    }

    /// Blocks are shared where the file system can, else copied.
    @Test(arguments: [true, false]) func sharesWhereItCan(canShare: Bool) async throws {
        var calls = FileCalls()
        calls.shareRange = { source, from, target, to, length in
            canShare ? FileCalls().copyRange(source, from, target, to, length) : .failure(.notSupported)
        }
        let file = try device(calls)
        try await file.resize(to: 2 << 20)
        let content = [UInt8](repeating: 1, count: 1 << 20)
        try await file.write(at: 0, bytes: content)
        let way = try await file.copyRange(
            from: StorageLocation(device: file, offset: 0), to: 1 << 20, length: 1 << 20)
        #expect((way == .shared) == canShare)
        // The kernel takes no bytes for all up to the end.
        _ = try await file.copyRange(from: StorageLocation(device: file, offset: 1 << 19), to: 0, length: 0)
        #expect(try await file.bytes(at: 1 << 20, count: 1 << 20) == content)
    }

    /// A file that nobody writes to is asked for its holes once; others are asked each time.
    @Test(
        arguments: [
            (.readOnly, .readOnlySource), (.readOnly, .forcedShare), (.readOnly, nil), (.readWrite, .writable),
        ] as [(StorageAccess, ImageLockMode?)])
    func holes(access: StorageAccess, lock: ImageLockMode?) async throws {
        let length: UInt64 = 8 << 20
        do {
            let file = try device(FileCalls())
            try await file.resize(to: length)
            for offset: UInt64 in [1 << 20, 5 << 20] {
                try await file.write(at: offset, bytes: [UInt8](repeating: 1, count: 1 << 20))
            }
        }
        let questions = Locked(0)
        var calls = FileCalls()
        calls.seek = { descriptor, offset, kind in
            questions.withLock { $0 += 1 }
            return FileCalls().seek(descriptor, offset, kind)
        }
        let file = try device(calls, access, lock: lock)
        #expect(file.capabilities.isSteady == (lock == .readOnlySource))
        let first = try await file.extents()
        let count = questions.withLock { $0 }
        #expect(count > 0)
        for start in stride(from: 0, to: length, by: 1 << 20) {
            let extent = try await file.blockStatus(at: start, length: 1 << 20, in: .chain)
            #expect(extent.length == 1 << 20)
            #expect(extent.readsAsZero || [1 << 20, 5 << 20].contains(start) || first.count == 1)
        }
        #expect((questions.withLock { $0 } == count) == (lock == .readOnlySource))
    }
}
