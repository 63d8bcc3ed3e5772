// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format
import Testing

@testable import BackupService

/// What the `-o` options of a new target stand for, and which are refused.
@Suite struct TargetOptionsTests {
    private static func applied(_ texts: [String]) throws(ServiceError) -> Qcow2Options {
        var options = Qcow2Options(size: 1 << 20)
        try TargetOptions(texts).apply(to: &options)
        return options
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let texts: [String]
        var expected = Qcow2Options(size: 1 << 20)

        init(_ texts: String..., change: (inout Qcow2Options) -> Void = { _ in }) {
            self.texts = texts
            change(&expected)
        }

        var testDescription: String { texts.joined(separator: ",") }
    }

    private static let sizes: [Case] = [
        ("512", 9), ("0.5k", 9), ("4096", 12), ("4k", 12), ("4K", 12), ("64KiB", 16), ("65536B", 16), ("1M", 20),
        ("2m", 21), ("2097152", 21),
    ].map { text, bits in Case("cluster_size=\(text)") { $0.clusterBits = bits } }

    private static let others: [Case] = [
        Case(),
        Case("compat=0.10") { $0.version = 2 },
        Case("compat=v2") { $0.version = 2 },
        Case("compat=1.1"),
        Case("compat=v3"),
        Case("compression_type=zlib"),
        Case("compression_type=zstd") { $0.compressionType = .zstd },
        Case("compression_type=zstd", "compression_type=zlib"),
        Case("extended_l2=on") { $0.hasExtendedL2 = true },
        Case("extended_l2=yes", "extended_l2=off"),
        Case("lazy_refcounts=true") { $0.hasLazyRefcounts = true },
        Case("refcount_bits=1") { $0.refcountOrder = 0 },
        Case("refcount_bits=64") { $0.refcountOrder = 6 },
        Case("data_file=a=b,c") { $0.dataFileName = "a=b,c" },
        Case("data_file=x", "data_file_raw=on") {
            $0.dataFileName = "x"
            $0.isDataFileRaw = true
        },
        Case("preallocation=off"),
    ]

    @Test(arguments: sizes + others) func accepted(one: Case) throws {
        #expect(try Self.applied(one.texts) == one.expected)
    }

    @Test(arguments: [
        "cluster_size=256", "cluster_size=4M", "cluster_size=3k", "cluster_size=0", "cluster_size=", "cluster_size=-4k",
        "cluster_size=64 K", "cluster_size=64kB", "cluster_size=99999999999999999999", "cluster_size=16E",
        "refcount_bits=0", "refcount_bits=3", "refcount_bits=128", "refcount_bits=1K", "refcount_bits=",
        "compat=2", "compat=", "compression_type=lz4", "extended_l2=", "extended_l2=maybe", "lazy_refcounts=1",
        "data_file=", "data_file_raw=2", "preallocation=metadata", "preallocation=full", "preallocation=",
        "backing_file=x", "backing_fmt=raw", "size=1G", "encryption=on", "encrypt.format=luks", "nocow=on", "foo=bar",
        "foo", "", "=", "=x", "Cluster_size=4k", "cluster_size =4k",
    ])
    func refused(text: String) throws {
        let error = try #require(throws: ServiceError.self) { _ = try Self.applied([text]) }
        #expect(error.code == .usage)
        let name = text.split(separator: "=", omittingEmptySubsequences: false)[0]
        #expect(error.message.contains("'\(name)'") || error.message.contains("option \(name):"), "\(error.message)")
    }

    /// The layout of an image that is replaced is kept, as far as it goes together with what was asked for.
    @Test func adoption() throws {
        var other = Qcow2Options(size: 1 << 20)
        other.clusterBits = 15
        other.refcountOrder = 5
        other.hasLazyRefcounts = true
        other.hasExtendedL2 = true
        other.compressionType = .zstd
        func adopted(_ texts: [String], _ other: Qcow2Options, _ type: CompressionType? = nil) throws -> Qcow2Options {
            var options = Qcow2Options(size: 1 << 20)
            let given = try TargetOptions(texts)
            given.adopt(other, compression: type, in: &options)
            try given.apply(to: &options)
            return options
        }
        #expect(try adopted([], other) == other)
        #expect(try adopted(["refcount_bits=8"], other).refcountOrder == 3)
        #expect(try adopted([], other, .zlib).compressionType == .zlib)
        var old = Qcow2Options(size: 1 << 20)
        old.version = 2
        old.clusterBits = 12
        #expect(try adopted([], old) == old)
        // What only the newer version has.
        for (texts, type) in [(["lazy_refcounts=on"], nil), ([], .zstd)] as [([String], CompressionType?)] {
            let new = try adopted(texts, old, type)
            #expect(new.version == 3 && new.clusterBits == 12, "\(texts)")
        }
    }

    /// What the help lists is what is understood.
    @Test(arguments: TargetOption.all) func everyListedOptionExists(option: TargetOption) throws {
        let error = try #require(throws: ServiceError.self) { _ = try Self.applied(["\(option.name)="]) }
        #expect(!error.message.hasPrefix("unknown"))
        #expect(TargetOption.helpText.contains("  \(option.name)=<"))
    }

    @Test func listed() {
        let names = TargetOption.all.map(\.name)
        #expect(names == names.sorted())
        for line in TargetOption.helpText.split(separator: "\n") {
            #expect(line.count <= 120)
        }
    }
}
