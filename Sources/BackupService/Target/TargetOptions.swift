// SPDX-License-Identifier: GPL-2.0-or-later

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
            case "cluster_size":
                options.clusterBits = try Self.log2(name, value, ByteSize(parsing: value)?.bytes, "512 to 2M", 9...21)
            case "compat": options.version = try Self.choice(name, value, ["0.10": 2, "v2": 2, "1.1": 3, "v3": 3])
            case "compression_type":
                options.compressionType = try Self.choice(name, value, ["zlib": .zlib, "zstd": .zstd])
            case "extended_l2": options.hasExtendedL2 = try Self.flag(name, value)
            case "lazy_refcounts": options.hasLazyRefcounts = try Self.flag(name, value)
            case "refcount_bits":
                options.refcountOrder = try Self.log2(name, value, UInt64(value), "1 to 64", 0...6)
            case "data_file":
                guard !value.isEmpty else { throw ServiceError(.usage, "option data_file: the name is empty") }
                options.dataFileName = value
            case "data_file_raw": options.isDataFileRaw = try Self.flag(name, value)
            case "backing_file", "backing_fmt":
                throw ServiceError(
                    .usage, "option \(name): the backing file follows from --sync",
                    advice: "--sync=top gives the target the source's backing file, -b PARENT an increment its parent")
            case "preallocation":
                guard value == "off" else {
                    throw ServiceError(
                        .usage, "option preallocation: '\(value)' is not available: what is zero takes no space",
                        advice: "leave it out")
                }
            default:
                throw ServiceError(
                    .usage, "unknown option '\(name)'",
                    advice: "there are: " + TargetOption.all.map(\.name).joined(separator: ", "))
            }
        }
    }

    /// Takes over how another image is laid out, as far as that goes together with what was given.
    ///
    /// - Parameter compression: how clusters are compressed; `nil` where that is not chosen.
    func adopt(_ other: Qcow2Options, compression: CompressionType?, in options: inout Qcow2Options) {
        let given = Set(values.map(\.name))
        guard !given.contains("compat") else { return }
        // What was given may need a newer version than the other image has.
        for keepsVersion in [true, false] {
            var adopted = options
            if keepsVersion {
                adopted.version = other.version
                adopted.hasLazyRefcounts = other.hasLazyRefcounts
                adopted.refcountOrder = other.refcountOrder
            }
            if !given.contains("extended_l2") {
                adopted.clusterBits = other.clusterBits
                if !given.contains("cluster_size") { adopted.hasExtendedL2 = other.hasExtendedL2 }
            }
            if compression == nil { adopted.compressionType = other.compressionType }
            // A disk of another length may need other clusters.
            if goesTogether(with: adopted, compression) {
                options = adopted
                return
            }
        }
    }

    private func goesTogether(with options: Qcow2Options, _ compression: CompressionType?) -> Bool {
        var options = options
        guard (try? apply(to: &options)) != nil else { return false }
        if let compression { options.compressionType = compression }
        return (try? options.check()) != nil
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

    /// The logarithm of a power of two.
    ///
    /// - Parameter number: what `value` stands for; `nil` where it is no number.
    private static func log2(
        _ name: String, _ value: String, _ number: UInt64?, _ range: String, _ bits: ClosedRange<Int>
    ) throws(ServiceError) -> Int {
        guard let number, number.nonzeroBitCount == 1, bits.contains(number.trailingZeroBitCount) else {
            throw ServiceError(.usage, "option \(name): '\(value)' is not a power of two from \(range)")
        }
        return number.trailingZeroBitCount
    }
}
