// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport

/// How a qcow2 image is laid out; as options for qemu-img and for us, which are the same.
struct ImageShape: Sendable {
    enum DataFile: Sendable, CaseIterable {
        case none, plain, raw
    }

    var clusterSize: UInt64 = 65536
    var extendedL2 = false
    var compressionType = "zlib"
    var refcountBits = 16
    var compat = "1.1"
    var dataFile = DataFile.none

    /// Draws what goes together; all features come up.
    init(random: inout SeededRandom) {
        clusterSize = 512 << UInt64.random(in: 0...12, using: &random)
        if Int.random(in: 0..<6, using: &random) == 0 {
            compat = "0.10"
            return
        }
        refcountBits = 1 << Int.random(in: 0...6, using: &random)
        extendedL2 = clusterSize >= 16384 && Bool.random(using: &random)
        if Int.random(in: 0..<3, using: &random) == 0 { compressionType = "zstd" }
        if Int.random(in: 0..<5, using: &random) == 0 { dataFile = [.plain, .raw].randomElement(using: &random)! }
    }

    init() {}

    var isVersion3: Bool { compat == "1.1" }

    /// - Parameter dataPath: for a shape with a data file.
    func options(dataPath: String) -> String {
        var options = ["cluster_size=\(clusterSize)", "compat=\(compat)"]
        if isVersion3 {
            options += [
                "refcount_bits=\(refcountBits)", "extended_l2=\(extendedL2 ? "on" : "off")",
                "compression_type=\(compressionType)",
            ]
        }
        switch dataFile {
        case .none: break
        case .plain: options.append("data_file=\(dataPath)")
        case .raw: options += ["data_file=\(dataPath)", "data_file_raw=on"]
        }
        return options.joined(separator: ",")
    }
}
