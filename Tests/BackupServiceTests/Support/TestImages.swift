// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format
import SystemPackage
import TestSupport

extension TemporaryDirectory {
    /// Makes a qcow2 image without data.
    @discardableResult
    func makeImage(
        _ name: String, length: UInt64, _ change: (inout Qcow2Options) -> Void = { _ in }
    ) async throws -> String {
        let path = file(name).string
        var options = Qcow2Options(size: length)
        change(&options)
        let image = try await Qcow2Image.create(options, in: LocalStorage.open(path, access: .create, lock: nil))
        try await image.close()
        return path
    }

    /// Makes a qcow2 image without data over another image.
    @discardableResult
    func makeOverlay(_ name: String, over backing: String, length: UInt64) async throws -> String {
        try await makeImage(name, length: length) { options in
            options.backingFileName = file(backing).string
            options.backingFormat = "qcow2"
        }
    }
}
