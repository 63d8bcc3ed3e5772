// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format
import TestSupport

/// An image, and beside it a plain array of what its disk must hold.
package final class ImageModel {
    package let kind: ImageCase
    package let file: any Storage
    package let dataFile: MemoryDevice?
    /// Bytes of the backing file.
    package let backingBytes: [UInt8]?
    package private(set) var image: Qcow2Image
    /// What the disk must hold.
    package var expected: [UInt8]
    /// What was done, for messages.
    package private(set) var log: [String] = []
    package var random: SeededRandom
    /// What failed and was tried again.
    package private(set) var faults: [BlockError] = []
    private let retries: Int
    package let backing: (any BlockDevice)?

    /// Random content to take pieces of; making it anew each time is slow.
    private static let noise: [UInt8] = {
        var random = SeededRandom(seed: 77)
        return random.bytes(count: 1 << 20) + random.compressibleBytes(count: 1 << 20)
    }()

    package struct Mismatch: Error, CustomStringConvertible {
        package let description: String
    }

    /// Makes an empty image.
    ///
    /// - Parameters:
    ///   - file: where the image goes; `nil` for memory.
    ///   - retries: how often a call that fails is tried again.
    package init(_ kind: ImageCase, in file: (any Storage)? = nil, retries: Int = 0) async throws {
        self.retries = retries
        self.kind = kind
        random = SeededRandom(seed: kind.seed)
        let size = Int(kind.size)
        self.file = file ?? MemoryDevice(name: "image.qcow2", length: 0)
        dataFile = kind.dataFile == .none ? nil : MemoryDevice(name: "data.raw", length: 0)
        backingBytes = kind.backingLength.map { Self.noise(count: Int($0), from: 12345) }
        expected = [UInt8](repeating: 0, count: size)
        if let backingBytes {
            backing = try SectorDisk(MemoryDevice(name: "base.raw", bytes: backingBytes))
            let visible = min(size, backingBytes.count)
            expected.replaceSubrange(0..<visible, with: backingBytes[..<visible])
        } else {
            backing = nil
        }
        let (place, data, below) = (self.file, dataFile, backing)
        (image, faults) = try await Self.attempt(retries) { () throws(BlockError) in
            try await Qcow2Image.create(kind.options, in: place, dataFile: data, backing: below)
        }
    }

    /// Takes an image that exists, and what its disk holds.
    package init(
        opening file: any Storage, kind: ImageCase, backing: (any BlockDevice)? = nil, expected: [UInt8]
    ) async throws {
        self.kind = kind
        self.file = file
        self.backing = backing
        retries = 0
        self.expected = expected
        dataFile = nil
        backingBytes = nil
        random = SeededRandom(seed: kind.seed)
        image = try await Qcow2File(file).open(backing: backing, forWriting: true)
    }

    package static func noise(count: Int, from start: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        var position = start % noise.count
        while bytes.count < count {
            let piece = min(count - bytes.count, noise.count - position)
            bytes += noise[position..<position + piece]
            position = 0
        }
        return bytes
    }

    // MARK: Steps

    private enum Step: CaseIterable {
        case write, smallWrite, zero, discard, compress, copy, read, status, flush, verify, reopen
    }

    /// Does something random and checks what can be checked at once.
    package func step() async throws {
        switch Step.allCases.randomElement(using: &random)! {
        case .write: try await write(random.range(below: kind.size))
        case .smallWrite: try await write(random.range(below: kind.size).prefixed(700))
        case .zero: try await zero(random.range(below: kind.size))
        case .discard: try await zero(random.range(below: kind.size), discarding: true)
        case .compress:
            if kind.dataFile == .none { try await compress(alignedRange()) }
        case .copy:
            // Files take copies from files only.
            if file is MemoryDevice { try await copy(alignedRange()) }
        case .read: try await checkRead(random.range(below: kind.size))
        case .status: try await checkStatus(random.range(below: kind.size))
        case .flush: try await flush()
        case .verify: try await verify()
        case .reopen: if Int.random(in: 0..<4, using: &random) == 0 { try await reopen() }
        }
    }

    private func alignedRange() -> Range<UInt64> {
        random.range(below: kind.size, alignment: 1 << UInt64(kind.clusterBits))
    }

    private func content(_ range: Range<UInt64>) -> [UInt8] {
        let start = Int.random(in: 0..<Self.noise.count, using: &random)
        return Int.random(in: 0..<8, using: &random) == 0
            ? [UInt8](repeating: 0, count: range.count) : Self.noise(count: range.count, from: start)
    }

    private func put(_ bytes: [UInt8], _ range: Range<UInt64>) {
        expected.replaceSubrange(Int(range.lowerBound)..<Int(range.upperBound), with: bytes)
    }

    package func write(_ range: Range<UInt64>) async throws {
        log.append("write \(range)")
        let bytes = content(range)
        try await attempt { () throws(BlockError) in try await image.write(at: range.lowerBound, bytes: bytes) }
        put(bytes, range)
    }

    package func compress(_ range: Range<UInt64>) async throws {
        log.append("compress \(range)")
        let bytes = content(range)
        try await attempt { () throws(BlockError) in
            try await image.writeCompressed(at: range.lowerBound, from: bytes.span.bytes)
        }
        put(bytes, range)
    }

    package func zero(_ range: Range<UInt64>, discarding: Bool = false) async throws {
        log.append("\(discarding ? "discard" : "zero") \(range)")
        try await attempt { () throws(BlockError) in
            if discarding {
                try await image.discard(at: range.lowerBound, length: UInt64(range.count))
            } else {
                try await image.writeZeroes(at: range.lowerBound, length: UInt64(range.count))
            }
        }
        put([UInt8](repeating: 0, count: range.count), range)
    }

    package func copy(_ range: Range<UInt64>) async throws {
        log.append("copy \(range)")
        let bytes = content(range)
        let source = MemoryDevice(name: "source", bytes: [9] + bytes)
        _ = try await attempt { () throws(BlockError) in
            try await image.copyRange(
                from: StorageLocation(device: source, offset: 1), to: range.lowerBound, length: UInt64(range.count))
        }
        put(bytes, range)
    }

    /// Closes the image and opens it again.
    package func reopen() async throws {
        log.append("reopen")
        try await close()
        image = try await attempt { () throws(BlockError) in
            try await Qcow2File(file).open(dataFile: dataFile, backing: backing, forWriting: true)
        }
    }

    package func flush() async throws {
        log.append("flush")
        try await attempt { () throws(BlockError) in try await image.flush() }
    }

    package func close() async throws {
        try await attempt { () throws(BlockError) in try await image.close() }
    }

    private func attempt<Result>(_ body: () async throws(BlockError) -> Result) async throws(BlockError) -> Result {
        let (result, errors) = try await Self.attempt(retries, body)
        faults += errors
        return result
    }

    /// Calls until a call succeeds, or has failed once more than it may.
    private static func attempt<Result>(
        _ retries: Int, _ body: () async throws(BlockError) -> Result
    ) async throws(BlockError) -> (Result, [BlockError]) {
        var errors: [BlockError] = []
        while true {
            do throws(BlockError) {
                return (try await body(), errors)
            } catch {
                guard errors.count < retries else { throw error }
                errors.append(error)
            }
        }
    }

    // MARK: Checks

    private func mismatch(_ what: String) -> Mismatch {
        Mismatch(description: "\(kind): \(what); after \(log.suffix(60).joined(separator: ", "))")
    }

    package func checkRead(_ range: Range<UInt64>) async throws {
        let bytes = try await attempt { () throws(BlockError) in
            try await image.bytes(at: range.lowerBound, count: range.count)
        }
        let wanted = expected[Int(range.lowerBound)..<Int(range.upperBound)]
        guard !haveSameBytes(bytes[...], wanted) else { return }
        let index = zip(bytes, wanted).enumerated().first { $0.element.0 != $0.element.1 }!.offset
        throw mismatch("read of \(range) differs at \(Int(range.lowerBound) + index)")
    }

    package func verify() async throws {
        try await checkRead(0..<kind.size)
        if kind.dataFile == .raw, let dataFile {
            guard haveSameBytes(dataFile.snapshot.allBytes, expected) else { throw mismatch("raw data file differs") }
        }
    }

    /// What is said about a range must be what is read there.
    package func checkStatus(_ range: Range<UInt64>) async throws {
        var position = range.lowerBound
        for extent in try await image.extents(at: range.lowerBound, length: UInt64(range.count)) {
            let part = expected[Int(position)..<Int(position + extent.length)]
            if extent.readsAsZero, !areZero(part) {
                throw mismatch("status of \(position) says zero for \(extent.length) bytes")
            } else if let location = extent.location, !extent.readsAsZero {
                let stored = try await location.device.bytes(at: location.offset, count: Int(extent.length))
                guard haveSameBytes(stored[...], part) else {
                    throw mismatch("location of \(position) holds something else")
                }
            }
            position += extent.length
        }
    }
}

extension Range<UInt64> {
    /// At most the first `count` values.
    fileprivate func prefixed(_ count: UInt64) -> Self { lowerBound..<Swift.min(upperBound, lowerBound + count) }
}
