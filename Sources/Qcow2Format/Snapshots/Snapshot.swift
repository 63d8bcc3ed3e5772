// SPDX-License-Identifier: GPL-2.0-or-later

/// An internal snapshot: the disk as it was, inside the same image.
///
/// Spec: “Snapshots”.
public struct Snapshot: Sendable, Equatable {
    public let id: String
    public let name: String
    /// Virtual size in bytes then.
    public let diskSize: UInt64
    let l1TableOffset: UInt64
    /// Number of entries.
    let l1Size: UInt32
}
