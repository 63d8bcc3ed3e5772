// swift-tools-version: 6.2
import Glibc
import PackageDescription

// ISA-L exists for x86-64 and arm64; elsewhere zlib compresses instead.
let hasISAL = access("/usr/include/isa-l/igzip_lib.h", F_OK) == 0

let warnings: [SwiftSetting] =
    Context.environment["QCOWBACKUP_WARNINGS"] == "error" ? [.treatAllWarnings(as: .error)] : []

// Tests go through millions of bytes, and take three times as long where neither they nor the libraries are optimised:
// tools/test asks for it. Assertions stay. Without it, a debug build is one for debuggers.
let isOptimised = Context.environment["QCOWBACKUP_OPTIMISED"] == "yes"
let optimised: [SwiftSetting] =
    isOptimised
    ? [.unsafeFlags(["-O", "-Xfrontend", "-assert-config", "-Xfrontend", "Debug"], .when(configuration: .debug))] : []
let optimisedC: [CSetting] = isOptimised ? [.unsafeFlags(["-O2"], .when(configuration: .debug))] : []

let settings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        // An async function runs where its caller runs: blocking I/O stays on the worker threads.
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
        // Spans over memory that we own (AlignedBuffer).
        .enableExperimentalFeature("Lifetimes"),
    ] + warnings

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings + optimised)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

func cLibrary(_ name: String, pkgConfig: String, debian package: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([package])])
}

let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let gnutls = cLibrary("CGnuTLS", pkgConfig: "gnutls", debian: "libgnutls28-dev")

let compressors: [Target] =
    [
        cLibrary("CZlib", pkgConfig: "zlib", debian: "zlib1g-dev"),
        cLibrary("CDeflate", pkgConfig: "libdeflate", debian: "libdeflate-dev"),
        cLibrary("CZstd", pkgConfig: "libzstd", debian: "libzstd-dev"),
    ] + (hasISAL ? [cLibrary("CISAL", pkgConfig: "libisal", debian: "libisal-dev")] : [])

// They are linked with libFuzzer, which has their `main`: tools/fuzz asks for them.
let fuzzTargets: [Target] =
    Context.environment["QCOWBACKUP_FUZZ"] == "yes"
    ? [
        .executableTarget(
            name: "fuzz-targets",
            dependencies: [
                "BackupManifest", "BinaryCoding", "BlockIO", "DiskChain", "FormatTestSupport", "Qcow2Format",
                "TestSupport",
            ],
            path: "tools/fuzz-targets", swiftSettings: settings)
    ] : []

let package = Package(
    name: "qcowbackup",
    products: [
        .executable(name: "qcowbackup", targets: ["qcowbackup"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.6.0"),
    ],
    targets: compressors + fuzzTargets + [
        gnutls,
        .target(name: "CLinux"),
        library("BinaryCoding"),
        library("BlockIO", ["BinaryCoding", "CLinux", system]),
        library("DirtyBitmaps", ["BinaryCoding"]),
        .target(name: "CXXHash", cSettings: optimisedC),
        library("BackupManifest", ["BinaryCoding", "BlockIO", "CGnuTLS", "CXXHash", "DirtyBitmaps", system]),
        library(
            "Qcow2Format",
            ["BinaryCoding", "BlockIO", "DirtyBitmaps", system] + compressors.map { .byName(name: $0.name) }),
        library("DiskChain", ["BinaryCoding", "BlockIO", "Qcow2Format", system]),
        library("BackupCore", ["BinaryCoding", "BlockIO", "DirtyBitmaps", system]),
        library(
            "BackupService",
            [
                "BackupCore", "BackupManifest", "BinaryCoding", "BlockIO", "DirtyBitmaps", "DiskChain", "Qcow2Format",
                system,
            ]),
        .executableTarget(
            name: "qcowbackup",
            dependencies: [
                "BackupCore", "BackupManifest", "BackupService", "BlockIO", "DiskChain", "Qcow2Format", arguments,
            ],
            swiftSettings: settings),

        .executableTarget(
            name: "core-bench", dependencies: ["BackupCore", "BlockIO", "DirtyBitmaps"], path: "tools/core-bench",
            swiftSettings: settings),

        .target(
            name: "TestSupport", dependencies: ["BinaryCoding", "BlockIO", system], path: "Tests/TestSupport",
            swiftSettings: settings + optimised),
        .target(
            name: "FormatTestSupport", dependencies: ["BlockIO", "DirtyBitmaps", "Qcow2Format", "TestSupport", system],
            path: "Tests/FormatTestSupport", swiftSettings: settings + optimised),
        tests("BinaryCodingTests", ["BinaryCoding", "TestSupport"]),
        tests("BlockIOTests", ["BlockIO", "CLinux", "TestSupport", system]),
        tests("DirtyBitmapsTests", ["DirtyBitmaps", "TestSupport"]),
        tests("BackupManifestTests", ["BackupManifest", "BlockIO", "DirtyBitmaps", "TestSupport", system]),
        tests("DiskChainTests", ["BlockIO", "DiskChain", "Qcow2Format", "TestSupport", system]),
        tests(
            "Qcow2FormatTests",
            [
                "BinaryCoding", "BlockIO", "CZlib", "CZstd", "DirtyBitmaps", "DiskChain", "FormatTestSupport",
                "Qcow2Format",
                "TestSupport", system,
            ]),
        // The formats for one suite alone: jobs from and to real files.
        tests(
            "BackupCoreTests",
            [
                "BackupCore", "BlockIO", "DirtyBitmaps", "DiskChain", "FormatTestSupport", "Qcow2Format", "TestSupport",
                system,
            ]),
        tests(
            "BackupServiceTests",
            [
                "BackupCore", "BackupManifest", "BackupService", "BlockIO", "CLinux", "DirtyBitmaps", "DiskChain",
                "FormatTestSupport",
                "Qcow2Format", "TestSupport", system,
            ]),
        tests(
            "ProgramTests",
            [
                "BackupCore", "BackupManifest", "BackupService", "BlockIO", "DiskChain", "Qcow2Format", "TestSupport",
                "qcowbackup",
                arguments,
                system,
            ]),
        tests(
            "InteropTests",
            ["BlockIO", "DirtyBitmaps", "DiskChain", "FormatTestSupport", "Qcow2Format", "TestSupport", system]),
    ]
)
