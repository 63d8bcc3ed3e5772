// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// What a check found, and what it repaired.
public struct CheckResult: Sendable {
    public var image: String
    public var format: ImageFormat
    /// As the image is now.
    public var report: CheckReport
    public var corruptionsFixed: UInt64 = 0
    public var leaksFixed: UInt64 = 0

    public init(image: String, format: ImageFormat, report: CheckReport) {
        self.image = image
        self.format = format
        self.report = report
    }
}
