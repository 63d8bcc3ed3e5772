// SPDX-License-Identifier: GPL-2.0-or-later

/// The names that an image gives to its features, for readers that don't know them.
///
/// Spec: “Feature name table”.
struct FeatureNameTable: Sendable {
    /// Names by type of feature, and bit: incompatible, compatible, autoclear.
    private var names: [[Int: String]] = [[:], [:], [:]]

    /// Bytes in an entry: type, bit, name padded with zeroes.
    private static let entryLength = 48

    /// The table that new images get.
    static let ours: [UInt8] = [
        entry(type: 0, bit: 0, "dirty bit"),
        entry(type: 0, bit: 1, "corrupt bit"),
        entry(type: 0, bit: 2, "external data file"),
        entry(type: 0, bit: 3, "compression type"),
        entry(type: 0, bit: 4, "extended L2 entries"),
        entry(type: 1, bit: 0, "lazy refcounts"),
        entry(type: 2, bit: 0, "bitmaps"),
        entry(type: 2, bit: 1, "raw external data"),
    ].flatMap { $0 }

    private static func entry(type: UInt8, bit: UInt8, _ name: String) -> [UInt8] {
        let text = Array(name.utf8.prefix(entryLength - 2))
        return [type, bit] + text + [UInt8](repeating: 0, count: entryLength - 2 - text.count)
    }

    init(data: [UInt8]) {
        for start in stride(from: 0, through: data.count - Self.entryLength, by: Self.entryLength) {
            let name = data[start + 2..<start + Self.entryLength].prefix { $0 != 0 }
            if data[start] < names.count {
                names[Int(data[start])][Int(data[start + 1])] = String(decoding: name, as: UTF8.self)
            }
        }
    }

    /// Every feature that is set, by name where there is one.
    func names(of features: IncompatibleFeatures) -> [String] { names(of: features.rawValue, type: 0, "incompatible") }

    func names(of features: CompatibleFeatures) -> [String] { names(of: features.rawValue, type: 1, "compatible") }

    func names(of features: AutoclearFeatures) -> [String] { names(of: features.rawValue, type: 2, "autoclear") }

    private func names(of bits: UInt64, type: Int, _ typeName: String) -> [String] {
        (0..<64).filter { bits >> UInt64($0) & 1 == 1 }.map { bit in
            names[type][bit] ?? "unknown \(typeName) feature bit \(bit)"
        }
    }
}
