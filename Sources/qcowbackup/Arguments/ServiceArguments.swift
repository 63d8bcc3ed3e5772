// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupCore
import BackupService
import DiskChain
import Qcow2Format

// Types of the service that are option values as they are: their raw value is what the user writes.

extension ImageFormat: ExpressibleByArgument {}

extension BackupRequest.CopyRange: ExpressibleByArgument {}

extension ErrorPolicy: ExpressibleByArgument {
    /// `auto` is what QMP calls `enospc` where nothing is said.
    package static var allValueStrings: [String] {
        [report, ignore, enospc, stop].map(\.rawValue)
    }

    package init?(argument: String) {
        guard Self.allValueStrings.contains(argument) else { return nil }
        self.init(rawValue: argument)
    }
}

extension BitmapMode: ExpressibleByArgument {}

extension BackupRequest.BackingName: ExpressibleByArgument {}

extension RepairScope: ExpressibleByArgument {}

/// The value of `--compression-type`, and of `-o compression_type`.
enum CompressionTypeArgument: String, CaseIterable, ExpressibleByArgument {
    case zlib
    case zstd

    var type: CompressionType {
        switch self {
        case .zlib: .zlib
        case .zstd: .zstd
        }
    }
}

/// A part of a whole, given in per cent: `5%`, `0.5%`.
struct Share: Equatable {
    /// Above 0, below 1.
    let fraction: Double

    /// `nil` for anything else, also for none and for all.
    init?(parsing text: String) {
        let digits = text.hasSuffix("%") ? text.dropLast() : text[...]
        guard digits.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || $0 == UInt8(ascii: ".") }),
            let number = Double(digits), number > 0, number < 100
        else { return nil }
        fraction = number / 100
    }
}

/// A length of time as people write it: `90s`, `10m`, `2h`; a bare number is seconds.
struct TimeSpan: Equatable {
    let duration: Duration

    /// `nil` for anything else, for no time at all and for more than a year.
    init?(parsing text: String) {
        let factors: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
        let factor = text.last.flatMap { factors[$0] }
        let digits = factor == nil ? text[...] : text.dropLast()
        guard !digits.isEmpty, digits.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
            let number = Int(digits), number > 0, number <= 366 * 86400 / (factor ?? 1)
        else { return nil }
        duration = .seconds(number * (factor ?? 1))
    }
}
