// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

extension BackupSummary {
    /// Data moved a second. What the kernel copied is written without having been read, what turned out to be zero is read
    /// without being written: the larger of the two counts.
    var bytesPerSecond: UInt64 {
        TransferRate.rate(bytes: max(bytesRead, bytesWritten), seconds: seconds)
    }

    /// Length of the target file for each byte of data in it; `nil` where either is unknown or nothing.
    var compressionRatio: Double? {
        guard let targetLength, bytesWritten > 0 else { return nil }
        return Double(targetLength) / Double(bytesWritten)
    }
}
