// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// An entry of a bitmap table: a cluster of bits, or that they are all alike.
///
/// Spec: “Bitmap table”.
enum BitmapTableEntry: Sendable, Equatable {
    case zeroes
    case ones
    case stored(HostOffset)

    private static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00

    /// - Throws: what is wrong with it, as the end of a sentence about the entry.
    init(rawValue: UInt64, clusterLength: UInt64, fileLength: UInt64) throws(Defect) {
        let offset = rawValue & Self.offsetMask
        guard rawValue & ~(Self.offsetMask | 1) == 0 else { throw .reservedBits }
        guard offset != 0 else {
            self = rawValue & 1 == 0 ? .zeroes : .ones
            return
        }
        guard rawValue & 1 == 0 else { throw .reservedBits }
        guard offset.isAligned(to: clusterLength) else { throw .notAligned }
        guard offset < fileLength else { throw .pastEnd }
        self = .stored(HostOffset(offset))
    }

    enum Defect: Error, Equatable {
        case reservedBits, notAligned, pastEnd
    }

    var rawValue: UInt64 {
        switch self {
        case .zeroes: 0
        case .ones: 1
        case .stored(let offset): offset.bytes
        }
    }
}
