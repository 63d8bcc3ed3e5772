// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format

/// What a restored disk takes the place of, where nobody says which format it is to have.
struct ReplacedTarget {
    let path: String

    /// What its user expects to find there. A path that can't be looked at is left to whoever opens it.
    var formatToWrite: ImageFormat {
        let status = try? FileStatus(path: path)
        return status?.kind == .blockDevice ? .raw : .qcow2
    }

    /// Refuses to put a qcow2 image in the place of something else: a virtual machine that expects a raw disk there would
    /// read it as one.
    func check() async throws(ServiceError) {
        guard let status = try? FileStatus(path: path), status.kind == .regular else { return }
        let isOther: Bool
        do throws(BlockError) {
            let file = try FileDevice(path: path, access: .readOnly, lock: nil)
            guard file.length > 0 else { return }
            isOther = try await ImageFormat.recognised(in: file) != .qcow2
        } catch {
            throw ServiceError(error)
        }
        if isOther {
            throw ServiceError(
                .usage, "\(path) is no qcow2 image, and would be replaced by one",
                advice: "say what it is to be: -O raw or -O qcow2")
        }
    }
}
