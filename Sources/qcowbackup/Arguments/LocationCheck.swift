// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

/// Whether an argument can be the path of a disk.
enum LocationCheck {
    /// Refuses an empty name, and the ways to name a disk that aren't paths: they would be looked for as files.
    static func check(_ location: String, named name: String) throws {
        if location.isEmpty {
            throw ValidationError("\(name) is empty")
        }
        let notPaths = ["nbd:", "nbd+", "nbds:", "nbds+", "json:", "driver="]
        if let prefix = notPaths.first(where: location.hasPrefix) {
            throw ValidationError("\(name): \(prefix)... is not available in this version")
        }
    }
}
