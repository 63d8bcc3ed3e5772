// SPDX-License-Identifier: GPL-2.0-or-later

/// How a file holds a disk.
public enum ImageFormat: String, Sendable, CaseIterable {
    case raw
    case qcow2
}
