// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import Qcow2Format

/// What images say of backups is read as it was written, and whatever else stands there says nothing.
@Suite struct BackupIdentityTests {
    private static let parents: [BackupIdentity.Parent?] = [
        nil, BackupIdentity.Parent(id: nil, virtualSize: 0), BackupIdentity.Parent(id: BackupID(), virtualSize: .max),
    ]

    @Test(arguments: parents)
    func identityIsReadAsWritten(parent: BackupIdentity.Parent?) {
        let identity = BackupIdentity(parent: parent)
        let data = identity.encoded().data
        #expect(BackupIdentity(decoding: data) == identity)
        #expect(data.count == 56)
        // Longer in a later version; a shorter one is none.
        #expect(BackupIdentity(decoding: data + [1, 2, 3]) == identity)
        for count in 0..<data.count { #expect(BackupIdentity(decoding: Array(data[..<count])) == nil) }
        var other = data
        other[3] = 2
        #expect(BackupIdentity(decoding: other) == nil, "of a version that isn't known")
    }

    @Test func identifiersDiffer() {
        let identifiers = (0..<1000).map { _ in BackupID() }
        #expect(Set(identifiers).count == 1000)
        #expect(identifiers.allSatisfy { $0.description.utf8.count == 32 })
        #expect(Set(identifiers.map(\.description)).count == 1000)
    }

    @Test func garbageSaysNothing() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<2000 {
            var data = random.bytes(count: Int.random(in: 0...200, using: &random))
            if data.count >= 4 { data.replaceSubrange(..<4, with: [0, 0, 0, 1]) }
            _ = BackupIdentity(decoding: data)
            _ = BitmapOrigins(decoding: data)
        }
    }

    private static func origin(_ stamp: UInt64) -> BitmapOrigin {
        var origin = BitmapOrigin(backup: stamp == 8 ? nil : BackupID(), backingStamp: stamp)
        origin.wasDisabled = stamp == 9
        return origin
    }

    @Test func originsAreReadAsWritten() throws {
        var origins = BitmapOrigins()
        #expect(origins.encoded() == nil)
        for length in [1, 7, 8, 9, 1023] {
            origins[[UInt8](repeating: 0x61, count: length)] = Self.origin(UInt64(length))
        }
        let data = try #require(origins.encoded()).data
        #expect(BitmapOrigins(decoding: data) == origins)
        #expect(data.count % 8 == 0)
        // What is cut off is not known; what comes before it is.
        for count in 0..<data.count {
            let some = BitmapOrigins(decoding: Array(data[..<count]))
            // The last byte is padding.
            #expect((some == origins) == (count == data.count - 1))
            #expect(some[[0x61]] == (count >= 8 + 32 + 1 ? origins[[0x61]] : nil))
        }
        origins[[0x61]] = nil
        #expect(origins[[0x61]] == nil && origins[[UInt8](repeating: 0x61, count: 7)] != nil)
    }

    /// The header has room for so many: the newest are kept.
    @Test func oldestOriginsAreLeftOut() throws {
        var origins = BitmapOrigins()
        for number in 0..<500 { origins[Array("bitmap\(number)".utf8)] = Self.origin(0) }
        // Set again, it is the newest.
        let renewed = Array("bitmap3".utf8)
        origins[renewed] = Self.origin(1)
        let data = try #require(origins.encoded()).data
        #expect(data.count <= 4096)
        let read = BitmapOrigins(decoding: data)
        #expect(read[renewed] == origins[renewed] && read[Array("bitmap499".utf8)] == origins[Array("bitmap499".utf8)])
        #expect(read[Array("bitmap4".utf8)] == nil)
    }

    /// A header of 2 MiB full of entries is read as far as one is ever written.
    @Test func manyOriginsTakeNoTime() {
        var data: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 0]
        for number in 0..<50_000 {
            data += [UInt8](repeating: 1, count: 24) + [0, 0, 0, 8, 0, 0, 0, 0]
            data += withUnsafeBytes(of: UInt64(number)) { [UInt8]($0) }
        }
        let origins = BitmapOrigins(decoding: data)
        #expect(origins[withUnsafeBytes(of: UInt64(0)) { [UInt8]($0) }] != nil)
        #expect(origins[withUnsafeBytes(of: UInt64(49_999)) { [UInt8]($0) }] == nil)
    }

    /// A header that is too small for everything has what it needs.
    @Test(arguments: [300, 312, 320, 370])
    func smallHeadersLeaveItOut(nameLength: Int) async throws {
        var options = Qcow2Options(size: 1 << 20)
        options.clusterBits = 9
        options.backingFileName = String(repeating: "x", count: nameLength)
        options.backingFormat = "raw"
        options.identity = BackupIdentity()
        let device = MemoryDevice(length: 0)
        let image = try await Qcow2Image.create(options, in: device, backing: MemoryDevice(length: 1 << 20))
        try await image.close()
        let file = try await Qcow2File(device)
        #expect(file.references.backingFileName?.count == nameLength)
        #expect((file.identity == options.identity) == (nameLength <= 312))
    }

    /// The origin of a bitmap lives and dies with what it is about.
    @Test func originsFollowTheBitmaps() async throws {
        let device = MemoryDevice(length: 0)
        let image = try await Qcow2Image.create(Qcow2Options(size: 1 << 20), in: device)
        try await image.close()
        func origins(_ changes: BitmapChange...) async throws -> [BitmapOrigin?] {
            let bitmaps = try await Qcow2File(device).openBitmaps(forWriting: true)
            try await bitmaps.apply(changes)
            try await bitmaps.close()
            let now = ["a", "b"].map { bitmaps.origin(of: $0) }
            let read = try await Qcow2File(device).openBitmaps(forWriting: false)
            #expect(["a", "b"].map { read.origin(of: $0) } == now)
            return now
        }
        let (one, other) = (Self.origin(1), Self.origin(2))
        func add(_ name: String) -> BitmapChange { .add(name: name, granularity: nil, isRecording: true) }
        #expect(try await origins(add("a"), add("b")) == [nil, nil])
        #expect(try await origins(.setOrigin(name: "a", one), .setOrigin(name: "b", other)) == [one, other])
        #expect(try await origins(.setRecording(name: "a", true), .merge(sources: ["b"], into: "a")) == [one, other])
        var disabled = one
        disabled.wasDisabled = true
        #expect(try await origins(.setRecording(name: "a", false)) == [disabled, other])
        #expect(try await origins(.setRecording(name: "a", true)) == [disabled, other])
        #expect(try await origins(.clear(name: "a")) == [nil, other])
        var unknown = BitmapOrigin(backup: nil, backingStamp: 0)
        unknown.wasDisabled = true
        #expect(try await origins(.setRecording(name: "a", false)) == [unknown, other])
        #expect(try await origins(.clear(name: "a"), .setOrigin(name: "a", one)) == [one, other])
        #expect(try await origins(.remove(name: "a"), add("a")) == [nil, other])
        #expect(try await origins(.setOrigin(name: "b", nil)) == [nil, nil])
        #expect(try await origins(.setOrigin(name: "b", other), .remove(name: "a"), .remove(name: "b")) == [nil, nil])
        #expect(try await Qcow2File(device).header.extensions.allSatisfy { $0.type != HeaderExtension.bitmapOrigins })
    }
}
