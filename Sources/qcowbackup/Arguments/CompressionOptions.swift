// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import Qcow2Format

/// Whether and how the target's clusters are compressed.
struct CompressionOptions: ParsableArguments {
    @Flag(name: [.customShort("c"), .customLong("compress")], help: "Compress the target's clusters.")
    var compresses = false

    @Option(
        name: .customLong("compression-type"),
        help: ArgumentHelp(
            "How to compress; means --compress too. (default: zlib)",
            discussion: """
                zlib: every QEMU reads it. zstd: smaller, about as fast; needs QEMU 5.1 or later to read.
                """,
            valueName: "type"))
    var type: CompressionTypeArgument?

    @Option(
        name: .customLong("compression-level"),
        help: ArgumentHelp(
            "Effort to spend on compression; means --compress too.", discussion: Self.levelHelp,
            valueName: "level"),
        completion: .list(levelNames))
    var level: String?

    private static let levelHelp = "A name or a number:\n" + CompressionLevel.helpText

    /// The names of levels of any type.
    private static let levelNames = CompressionType.allCases.reduce(into: [String]()) { names, type in
        names += CompressionLevel.names(for: type).filter { !names.contains($0) }
    }

    /// - Parameter targetOptions: the `-o` options, where `compression_type` may say the type.
    /// - Returns: `nil` where clusters are stored as they are.
    /// - Throws: `ValidationError` where the two types differ, or the level is none of the type's.
    func settings(targetOptions: [String]) throws -> CompressionSettings? {
        guard compresses || type != nil || level != nil else { return nil }
        let prefix = "compression_type="
        // Where an option comes twice the last one counts. An unknown type is left to whoever reads the options.
        let named = targetOptions.last { $0.hasPrefix(prefix) }
            .flatMap { CompressionTypeArgument(rawValue: String($0.dropFirst(prefix.count))) }
        if let type, let named, type != named {
            throw ValidationError(
                "--compression-type=\(type.rawValue) contradicts -o \(prefix)\(named.rawValue): give one of them")
        }
        do throws(CompressionSettingsError) {
            return try CompressionSettings(type: (type ?? named ?? .zlib).type, levelText: level)
        } catch {
            throw ValidationError(error.description)
        }
    }
}
