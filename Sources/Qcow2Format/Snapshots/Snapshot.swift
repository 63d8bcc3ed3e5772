// SPDX-License-Identifier: GPL-2.0-or-later

/// An internal snapshot: the disk as it was, inside the same image.
///
/// Spec: “Snapshots”.
public struct Snapshot: Sendable, Equatable {
    public let id: String
    public let name: String
    /// Virtual size in bytes then.
    public let diskSize: UInt64
    /// Bytes of the saved machine; 0 for none.
    public let vmStateSize: UInt64
    /// When it was made: seconds since 1970, and nanoseconds more.
    public let dateSeconds: UInt32
    public let dateNanoseconds: UInt32
    /// How long the machine had run, in nanoseconds.
    public let vmClockNanoseconds: UInt64
    /// Instructions that the machine had executed; `nil` where that was not counted.
    public let instructionCount: UInt64?
    let l1TableOffset: UInt64
    /// Number of entries.
    let l1Size: UInt32
}
