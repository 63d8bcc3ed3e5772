// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// Prints a map entry by entry.
protocol MapPrinter: Sendable {
    /// What stands before all entries.
    var head: String { get }
    /// What to print once an entry is known.
    mutating func text(for entry: MapEntry) -> String
    /// What belongs to the entries so far and isn't printed yet.
    var rest: String { get }
    /// What stands behind all entries.
    ///
    /// - Parameter start: where the listing was to start.
    func end(start: UInt64) -> String
    /// Why the map can't be printed any further.
    var failure: ServiceError? { get }
}

/// The JSON of qemu-img, an entry to a line, with the key `compressed` that newer ones of it have.
struct MapJSONPrinter: MapPrinter {
    private var hasEntries = false

    var head: String { "[" }
    var rest: String { "" }
    var failure: ServiceError? { nil }

    mutating func text(for entry: MapEntry) -> String {
        defer { hasEntries = true }
        return (hasEntries ? ",\n" : "") + Self.object(entry)
    }

    func end(start: UInt64) -> String {
        // Where there is nothing to list, qemu-img lists that.
        (hasEntries ? "" : Self.object(MapEntry(start: start, length: 0))) + "]\n"
    }

    private static func object(_ entry: MapEntry) -> String {
        let offset = entry.offset.map { ", \"offset\": \($0)" } ?? ""
        return "{ \"start\": \(entry.start), \"length\": \(entry.length), \"depth\": \(entry.depth), "
            + "\"present\": \(entry.isPresent), \"zero\": \(entry.isZero), \"data\": \(entry.isData), "
            + "\"compressed\": \(entry.isCompressed)\(offset)}"
    }
}

/// The table of qemu-img: what is stored as it is, and where.
struct MapTextPrinter: MapPrinter {
    private let image: String
    private(set) var failure: ServiceError?

    init(image: String) {
        self.image = image
    }

    var head: String { Self.row("Offset", "Length", "Mapped to") + "File\n" }
    var rest: String { "" }

    mutating func text(for entry: MapEntry) -> String {
        guard failure == nil, entry.isData, !entry.isZero else { return "" }
        guard let offset = entry.offset, let file = entry.file else {
            failure = ServiceError(
                .unsupported, "\(image): the disk has compressed clusters, which have no offset in a file",
                advice: "--output=json shows them")
            return ""
        }
        return Self.row(Self.hexadecimal(entry.start), Self.hexadecimal(entry.length), Self.hexadecimal(offset))
            + printable(file) + "\n"
    }

    func end(start: UInt64) -> String { "" }

    private static func row(_ cells: String...) -> String {
        cells.map { $0 + String(repeating: " ", count: max(0, 16 - $0.utf8.count)) }.joined()
    }

    private static func hexadecimal(_ number: UInt64) -> String {
        number == 0 ? "0" : "0x" + String(number, radix: 16)
    }
}
