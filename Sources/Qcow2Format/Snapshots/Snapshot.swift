// SPDX-License-Identifier: GPL-2.0-or-later

/// An internal snapshot: the disk as it was, inside the same image.
///
/// Spec: “Snapshots”.
public struct Snapshot: Sendable, Equatable {
    /// Bytes, because names need not be text, and making text of all of them takes time. Empty where nobody asked for names.
    let idBytes: [UInt8]
    let nameBytes: [UInt8]
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

    /// As it is stored; what is no text becomes replacement characters.
    public var id: String { String(decoding: idBytes, as: UTF8.self) }
    /// As it is stored; what is no text becomes replacement characters.
    public var name: String { String(decoding: nameBytes, as: UTF8.self) }
}
