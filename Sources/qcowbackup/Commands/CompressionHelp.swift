// SPDX-License-Identifier: GPL-2.0-or-later

/// What the help says about compression levels.
enum CompressionHelp {
    static let levelNames: [String] = []

    static let levels = "A number."
}
