// SPDX-License-Identifier: GPL-2.0-or-later

/// How to compress clusters.
public struct CompressionSettings: Sendable, Equatable {
    public var type: CompressionType
    /// Effort; its meaning depends on the type.
    public var level: Int

    public init(type: CompressionType = .zlib, level: Int = 1) {
        self.type = type
        self.level = level
    }
}
