// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import Qcow2Format

/// The `-o` options of a new qcow2 target, as given.
struct TargetOptions {
    private var values: [(name: String, value: String)] = []

    /// - Throws: `usage` for options that aren't `name=value`.
    init(_ texts: [String]) throws(ServiceError) {
        for text in texts {
            guard let equals = text.firstIndex(of: "=") else {
                throw ServiceError(.usage, "option '\(text)' has no value", advice: "write -o \(text)=VALUE")
            }
            values.append((String(text[..<equals]), String(text[text.index(after: equals)...])))
        }
    }

    var isEmpty: Bool { values.isEmpty }

    /// Sets what was given, the last of each name last.
    ///
    /// - Throws: `usage` for unknown names and values.
    func apply(to options: inout Qcow2Options) throws(ServiceError) {
        for (name, value) in values {
            switch name {
            case "cluster_size": options.clusterBits = try Self.log2(name, value, in: 512...2 << 20)
            case "compat": options.version = try Self.choice(name, value, ["0.10": 2, "v2": 2, "1.1": 3, "v3": 3])
            case "compression_type":
                options.compressionType = try Self.choice(name, value, ["zlib": .zlib, "zstd": .zstd])
            case "extended_l2": options.hasExtendedL2 = try Self.flag(name, value)
            case "lazy_refcounts": options.hasLazyRefcounts = try Self.flag(name, value)
            case "refcount_bits": options.refcountOrder = try Self.log2(name, value, in: 1...64)
            case "data_file": options.dataFileName = value
            case "data_file_raw": options.isDataFileRaw = try Self.flag(name, value)
            case "backing_file", "backing_fmt":
                throw ServiceError(
                    .usage, "option \(name): the backing file follows from --sync",
                    advice: "--sync=top gives the target the source's backing file")
            case "preallocation":
                _ = try Self.choice(name, value, ["off": true])
            default:
                throw ServiceError(
                    .usage, "unknown option '\(name)'",
                    advice: "there are: cluster_size, compat, compression_type, data_file, data_file_raw, "
                        + "extended_l2, lazy_refcounts, refcount_bits")
            }
        }
    }

    private static func flag(_ name: String, _ value: String) throws(ServiceError) -> Bool {
        try choice(name, value, ["on": true, "yes": true, "true": true, "off": false, "no": false, "false": false])
    }

    private static func choice<Value>(
        _ name: String, _ value: String, _ choices: [String: Value]
    ) throws(ServiceError) -> Value {
        guard let choice = choices[value] else {
            throw ServiceError(
                .usage, "option \(name): '\(value)' is not one of \(choices.keys.sorted().joined(separator: ", "))")
        }
        return choice
    }

    /// The logarithm of a power of two with an optional unit.
    private static func log2(_ name: String, _ value: String, in range: ClosedRange<UInt64>) throws(ServiceError) -> Int
    {
        let units: [Character: UInt64] = ["k": 1 << 10, "m": 1 << 20]
        let unit = value.last.flatMap { units[Character($0.lowercased())] }
        guard let number = UInt64(unit == nil ? value : String(value.dropLast())),
            let bytes = number.multiplied(by: unit ?? 1), range.contains(bytes), bytes.nonzeroBitCount == 1
        else {
            throw ServiceError(
                .usage,
                "option \(name): '\(value)' is not a power of two from \(range.lowerBound) to \(range.upperBound)")
        }
        return bytes.trailingZeroBitCount
    }
}
