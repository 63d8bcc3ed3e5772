// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// What the header of LUKS encryption, version 1, says that is no secret.
///
/// Spec: “Full disk encryption header pointer”; the fields are those of the LUKS on-disk format.
package struct LUKSHeader: Sendable, Equatable {
    /// A place for a key.
    package struct Slot: Sendable, Equatable {
        package let isActive: Bool
        package let iterations: UInt32
        /// Bytes from the start of the encryption header.
        package let keyOffset: UInt64
        package let stripes: UInt32
    }

    package let cipherName: String
    /// Mode and the generator of initialisation vectors, as stored: `xts-plain64`.
    package let cipherMode: String
    package let hashName: String
    /// Bytes from the start of the encryption header.
    package let payloadOffset: UInt64
    /// Bytes of the master key.
    package let keyLength: UInt32
    package let masterKeyIterations: UInt32
    package let uuid: String
    package let slots: [Slot]

    /// Bytes of the fields.
    static let encodedLength = 592
    private static let slotsOffset = 208
    private static let slotLength = 48
    private static let slotCount = 8
    private static let sectorLength: UInt64 = 512
    private static let activeSlot: UInt32 = 0x00ac_71f3

    /// - Parameter bytes: at least the fields.
    /// - Throws: `.headerExtension` for another version, or something else.
    init(decoding bytes: RawSpan) throws(Qcow2Error.Problem) {
        do {
            let version: UInt16 = try bytes.bigEndian(at: 6)
            guard try bytes.bytes(at: 0, count: 6) == [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe], version == 1 else {
                throw Qcow2Error.Problem.headerExtension(
                    type: HeaderExtension.fullDiskEncryption, rule: "it leads to no LUKS header of version 1")
            }
            cipherName = try Self.text(in: bytes, at: 8, count: 32)
            cipherMode = try Self.text(in: bytes, at: 40, count: 32)
            hashName = try Self.text(in: bytes, at: 72, count: 32)
            payloadOffset = UInt64(try bytes.bigEndian(at: 104, as: UInt32.self)) * Self.sectorLength
            keyLength = try bytes.bigEndian(at: 108)
            masterKeyIterations = try bytes.bigEndian(at: 164)
            uuid = try Self.text(in: bytes, at: 168, count: 40)
            var slots: [Slot] = []
            for index in 0..<Self.slotCount {
                let start = Self.slotsOffset + index * Self.slotLength
                slots.append(
                    Slot(
                        isActive: try bytes.bigEndian(at: start) == Self.activeSlot,
                        iterations: try bytes.bigEndian(at: start + 4),
                        keyOffset: UInt64(try bytes.bigEndian(at: start + 40, as: UInt32.self)) * Self.sectorLength,
                        stripes: try bytes.bigEndian(at: start + 44)))
            }
            self.slots = slots
        } catch let problem as Qcow2Error.Problem {
            throw problem
        } catch {
            throw .headerExtension(type: HeaderExtension.fullDiskEncryption, rule: "the LUKS header is truncated")
        }
    }

    private static func text(in bytes: RawSpan, at offset: Int, count: Int) throws(OutOfBoundsField) -> String {
        String(decoding: try bytes.bytes(at: offset, count: count).prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// How an image's data clusters are encrypted.
///
/// Spec: “Header”, bytes 32 to 35, crypt_method.
package enum EncryptionMethod: UInt32, Sendable {
    case aes = 1
    case luks = 2
}
