// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

extension FileDevice {
    /// Whether another user of the file has announced that it writes to it. Takes no lock, so it disturbs nobody; where
    /// there is no locking, nobody has.
    public var isWrittenByOther: Bool {
        guard kind == .regular else { return false }
        let system = LockCalls()
        return ImageLockMode.bytes(showing: [.write, .resize]).contains { byte in
            var type = Int16(F_UNLCK)
            return system.probe(rawDescriptor, byte, &type) == nil && type != Int16(F_UNLCK)
        }
    }
}
