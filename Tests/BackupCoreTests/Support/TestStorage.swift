// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// The file below a test disk, of which offload reads.
final class TestStorage: Storage {
    let bytes: [UInt8]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    var name: String { "storage" }
    var length: UInt64 { UInt64(bytes.count) }
    var capabilities: DeviceCapabilities { DeviceCapabilities() }
    var preferredAlignment: UInt64 { 1 }

    func resize(to length: UInt64) async throws(BlockError) {
        throw .readOnly(device: name)
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        throw .unsupported(operation: "reads", device: name)
    }

    func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        throw .unsupported(operation: "block status", device: name)
    }
}
