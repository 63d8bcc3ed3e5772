// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format

extension OpenedDisk {
    /// Refuses a chain in which a file is another one than that on which the one before it was made, as far as they say.
    ///
    /// - Throws: `ServiceError` with the code `inconsistent`.
    func checkIdentities() throws(ServiceError) {
        for (index, layer) in layers.enumerated().dropLast() {
            guard let made = layer.identity?.parent else { continue }
            let below = layers[index + 1]
            if let expected = made.id, let found = below.identity?.id, found != expected {
                throw Self.otherFile(
                    "\(layer.path) was made on another backup than \(below.path): that one was replaced, or belongs to "
                        + "another chain")
            }
            if lengths[index + 1] < made.virtualSize {
                throw Self.otherFile(
                    "\(layer.path) was made on a disk of \(made.virtualSize) bytes, and \(below.path) has "
                        + "\(lengths[index + 1]): it was cut off or replaced")
            }
        }
    }

    private static func otherFile(_ message: String) -> ServiceError {
        ServiceError(
            .inconsistent, message, advice: "bring the right file back; --trust-chain takes it as it is")
    }
}
