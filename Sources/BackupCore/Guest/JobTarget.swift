// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// A target that has readers, and perhaps bitmaps, of its own, as the job that copies to it uses it.
final class JobTarget: DeviceWrapper {
    // Set at init.
    private let device: GuestDevice
    private let origin: GuestDevice.Origin

    /// - Parameter isSerialising: keep reads away from what is being written, because the source is behind the target.
    init(_ device: GuestDevice, isSerialising: Bool) {
        self.device = device
        origin = .job(isSerialising: isSerialising)
    }

    var base: any BlockDevice { device }

    func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await device.change(offset, UInt64(buffer.byteCount), by: origin) { () async throws(BlockError) in
            try await device.disk.write(at: offset, from: buffer)
        }
    }

    func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await device.change(offset, UInt64(buffer.byteCount), by: origin) { () async throws(BlockError) in
            try await device.disk.writeCompressed(at: offset, from: buffer)
        }
    }

    func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await device.change(offset, length, by: origin) { () async throws(BlockError) in
            try await device.disk.writeZeroes(at: offset, length: length)
        }
    }

    func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try await device.change(offset, length, by: origin) { () async throws(BlockError) in
            try await device.disk.copyRange(from: source, to: offset, length: length)
        }
    }
}
