// SPDX-License-Identifier: GPL-2.0-or-later

/// What the standard library has for any elements, for bytes alone. Tests are not optimised: there its own call takes a
/// hundred times as long, since it asks for each byte what type it has. The compiler prefers these.
extension [UInt8] {
    package mutating func replaceSubrange(_ range: Range<Int>, with bytes: [UInt8]) {
        self[range] = bytes[...]
    }

    package mutating func replaceSubrange(_ range: Range<Int>, with bytes: ArraySlice<UInt8>) {
        self[range] = bytes
    }

    package mutating func replaceSubrange(_ range: Range<Int>, with bytes: Repeated<UInt8>) {
        self[range] = [UInt8](repeating: bytes.repeatedValue, count: bytes.count)[...]
    }
}
