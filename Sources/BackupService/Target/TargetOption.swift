// SPDX-License-Identifier: GPL-2.0-or-later

/// A property of a new qcow2 target that `-o` sets: a row of the table of them.
///
/// The table is the only place that says which there are, so help, completion and messages can't differ.
package struct TargetOption: Sendable, Equatable {
    package let name: String
    /// What its value looks like, as a word.
    package let value: String
    /// What it does, in one line.
    package let summary: String

    private init(_ name: String, _ value: String, _ summary: String) {
        self.name = name
        self.value = value
        self.summary = summary
    }

    /// In alphabetical order.
    package static let all = [
        TargetOption("cluster_size", "size", "Size of a cluster: a power of two from 512 to 2M (default: 64K)"),
        TargetOption("compat", "version", "Oldest QEMU that reads it: 1.1 (default, also v3) or 0.10 (also v2)"),
        TargetOption("compression_type", "type", "How compressed clusters are stored: zlib (default) or zstd"),
        TargetOption("data_file", "name", "Keep the disk's data in a file of its own, beside TARGET"),
        TargetOption("data_file_raw", "on|off", "Keep the data file readable as a raw disk (default: off)"),
        TargetOption("extended_l2", "on|off", "Divide clusters into 32 subclusters (default: off)"),
        TargetOption("lazy_refcounts", "on|off", "Let QEMU delay refcounts when it writes later (default: off)"),
        TargetOption("preallocation", "off", "Only off: what is zero takes no space"),
        TargetOption("refcount_bits", "bits", "Width of a refcount: a power of two from 1 to 64 (default: 16)"),
    ]

    /// The table as text: a line for each option, as qemu-img shows its own.
    package static let helpText: String = {
        let labels = all.map { "\($0.name)=<\($0.value)>" }
        let width = labels.map(\.count).max() ?? 0
        return zip(all, labels).map { option, label in
            "  \(label)\(String(repeating: " ", count: width - label.count)) - \(option.summary)"
        }.joined(separator: "\n")
    }()
}
