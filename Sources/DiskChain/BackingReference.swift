// SPDX-License-Identifier: GPL-2.0-or-later

import FoundationEssentials

/// What an image records as its backing file: a path, or a `json:` description of one.
package struct BackingReference: Sendable, Equatable {
    /// As recorded; may be relative to the image's folder.
    package let path: String
    /// Format that the name itself gives; `nil` for plain paths.
    package let format: String?

    /// What is wrong with a name.
    package struct Unusable: Error, Sendable, Equatable {
        package let reason: String
    }

    /// - Throws: `Unusable` for protocols and descriptions that are no file.
    package init(_ name: String) throws(Unusable) {
        if name.hasPrefix("json:") {
            (path, format) = try Self.parse(json: String(name.dropFirst(5)))
            return
        }
        format = nil
        guard let colon = name.firstIndex(of: ":"), !name[..<colon].contains("/") else {
            path = name
            return
        }
        // As QEMU reads it, what stands before a colon is a protocol.
        guard name[..<colon] == "file" else {
            throw Unusable(reason: "protocol '\(name[..<colon])' is not supported for backing files")
        }
        path = String(name[name.index(after: colon)...])
    }

    private indirect enum Node: Decodable {
        case object([String: Node])
        case text(String)
        case other

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .text(text)
            } else if let number = try? container.decode(Int64.self) {
                self = .text("\(number)")
            } else if let object = try? container.decode([String: Node].self) {
                self = .object(object)
            } else {
                self = .other
            }
        }

        /// Options that change nothing about what is read. Others do, such as the part of a file that a raw disk is, or
        /// another backing file than the image's own, and leaving them out would show another disk.
        private static let harmless: Set<Substring> = [
            "driver", "filename", "node-name", "read-only", "auto-read-only", "force-share", "locking", "aio",
            "aio-max-batch", "cache", "discard", "detect-zeroes", "drop-cache", "pr-manager", "x-check-cache-dropped",
            // Of qcow2 images: how tables are cached, and what happens when something is written.
            "lazy-refcounts", "pass-discard-request", "pass-discard-snapshot", "pass-discard-other",
            "discard-no-unref", "overlap-check", "cache-size", "l2-cache-size", "l2-cache-entry-size",
            "refcount-cache-size", "cache-clean-interval",
        ]

        /// Whether an option says what is so without it.
        private func isDefault(_ key: Substring) -> Bool {
            // A raw disk starts where its file does.
            if key == "offset", case .text("0") = self { return true }
            return false
        }

        /// Refuses options that are neither followed nor harmless. What `file` leads to is one level deep.
        func checkOptions(isStorage: Bool = false) throws(Unusable) {
            guard case .object(let members) = self else { return }
            for (key, value) in members {
                let parts = key.split(separator: ".", omittingEmptySubsequences: false)
                if !isStorage, parts[0] == "file" {
                    if parts.count == 1 {
                        try value.checkOptions(isStorage: true)
                        continue
                    }
                    if members["file"] == nil, Self.harmless.contains(parts[1]) || value.isDefault(parts[1]) {
                        continue
                    }
                } else if Self.harmless.contains(parts[0]) || parts.count == 1 && value.isDefault(parts[0]) {
                    continue
                }
                throw Unusable(reason: "option '\(key)' of its json: description is not supported")
            }
        }

        /// The text at a path of keys, nested or joined by dots.
        func text(_ keys: [String]) -> String? {
            guard case .object(let members) = self else { return nil }
            if case .text(let text)? = members[keys.joined(separator: ".")] { return text }
            guard keys.count > 1, let inner = members[keys[0]] else { return nil }
            return inner.text(Array(keys.dropFirst()))
        }
    }

    private static func parse(json: String) throws(Unusable) -> (path: String, format: String?) {
        guard let node = try? JSONDecoder().decode(Node.self, from: Data(json.utf8)) else {
            throw Unusable(reason: "its json: description can't be parsed")
        }
        try node.checkOptions()
        let driver = node.text(["driver"])
        if driver == "file" || driver == "host_device", let path = node.text(["filename"]) { return (path, nil) }
        let storage = node.text(["file", "driver"]) ?? "file"
        guard storage == "file" || storage == "host_device" else {
            throw Unusable(reason: "protocol '\(storage)' is not supported for backing files")
        }
        guard let path = node.text(["file", "filename"]) else {
            throw Unusable(reason: "its json: description names no file")
        }
        return (path, driver)
    }
}
