// SPDX-License-Identifier: GPL-2.0-or-later

/// What one input is given to. tools/fuzz names the target in the environment.
///
/// A fault is a trap, a hang, memory without bound, or a broken promise that the target itself looks for.
enum FuzzTarget: String {
    case header, clusters, snapshots, bitmaps, repair
    case manifest
    case backingName = "backing-name"

    /// Whether an input is a qcow2 image.
    var takesImages: Bool {
        switch self {
        case .header, .clusters, .snapshots, .bitmaps, .repair: true
        case .manifest, .backingName: false
        }
    }

    func run(_ input: [UInt8]) {
        switch self {
        case .header: CallingThread.run { await ImageFuzzing(input).readHeader() }
        case .clusters: CallingThread.run { await ImageFuzzing(input).readClusters() }
        case .snapshots: CallingThread.run { await ImageFuzzing(input).readSnapshots() }
        case .bitmaps: CallingThread.run { await ImageFuzzing(input).changeBitmaps() }
        case .repair: CallingThread.run { await ImageFuzzing(input).repair() }
        case .manifest: CallingThread.run { await ManifestFuzzing.decode(input) }
        case .backingName: BackingNameFuzzing.parse(input)
        }
    }
}

/// Makes the input one that was found, where a promise is broken. Unlike a precondition's, the message is kept in a release.
func require(_ isKept: Bool, _ message: @autoclosure () -> String) {
    if !isKept { fatalError(message()) }
}
