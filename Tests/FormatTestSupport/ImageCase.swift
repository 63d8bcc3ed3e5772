// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format

/// A kind of image to test, and the seed of what happens to it.
package struct ImageCase: Sendable, CustomStringConvertible {
    /// How long the backing file is, compared to the disk.
    package enum Backing: String, Sendable, CaseIterable {
        case none, shorter, longer, unaligned
    }

    package enum DataFile: String, Sendable, CaseIterable {
        case none, plain, raw
    }

    package var clusterBits: Int
    package var refcountOrder = 4
    package var version: UInt32 = 3
    package var hasExtendedL2 = false
    package var backing = Backing.none
    package var dataFile = DataFile.none
    package var compressionType = CompressionType.zlib
    package var seed: UInt64 = 0
    /// Length in bytes of a disk that exists; `nil` for one to be made.
    package var sizeOverride: UInt64?

    package init(clusterBits: Int) {
        self.clusterBits = clusterBits
    }

    /// Length in bytes of the disk: several L2 tables of small clusters, and no multiple of the cluster.
    package var size: UInt64 {
        if let sizeOverride { return sizeOverride }
        let cluster = UInt64(1) << UInt64(clusterBits)
        let clusters: UInt64 = clusterBits <= 12 ? 300 : clusterBits <= 16 ? 21 : 2
        return clusters * cluster + (clusterBits > 10 ? 3 * 512 : 0)
    }

    package var backingLength: UInt64? {
        switch backing {
        case .none: nil
        case .shorter: size / 2 / 512 * 512
        case .longer: size + 4096
        case .unaligned: size * 3 / 4 / 512 * 512 + 77
        }
    }

    package var options: Qcow2Options {
        var options = Qcow2Options(size: size)
        options.clusterBits = clusterBits
        options.refcountOrder = refcountOrder
        options.version = version
        options.hasExtendedL2 = hasExtendedL2
        options.compressionType = compressionType
        if backing != .none {
            options.backingFileName = "base.raw"
            options.backingFormat = "raw"
        }
        if dataFile != .none {
            options.dataFileName = "data.raw"
            options.isDataFileRaw = dataFile == .raw
        }
        return options
    }

    package var description: String {
        "v\(version) cluster \(1 << clusterBits) refcount \(1 << refcountOrder)\(hasExtendedL2 ? " extended-l2" : "") "
            + "backing \(backing) data-file \(dataFile) \(compressionType) seed \(seed)"
    }

    /// Cluster sizes crossed with refcount widths; the other properties rotate.
    ///
    /// - Parameters:
    ///   - orders: log2 of the refcount widths to take, by cluster bits.
    ///   - round: another number rotates the other properties on.
    package static func crossProduct(orders: (Int) -> [Int], round: Int = 0) -> [ImageCase] {
        var cases: [ImageCase] = []
        for clusterBits in 9...21 {
            for order in orders(clusterBits) {
                let number = cases.count + round * 5
                var one = ImageCase(clusterBits: clusterBits)
                one.refcountOrder = order
                one.seed = UInt64(number + round * 1000)
                one.backing = Backing.allCases[number % 4]
                one.hasExtendedL2 = clusterBits >= 14 && (number / 2 + round) % 3 == 0
                one.dataFile = number % 7 == 3 ? .plain : number % 7 == 5 && one.backing == .none ? .raw : .none
                one.compressionType = number % 3 == 1 ? .zstd : .zlib
                cases.append(one)
            }
            var old = ImageCase(clusterBits: clusterBits)
            old.version = 2
            old.backing = Backing.allCases[(clusterBits + round) % 4]
            old.seed = UInt64(clusterBits + 100 + round * 1000)
            cases.append(old)
        }
        return cases
    }
}
