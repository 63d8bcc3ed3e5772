// SPDX-License-Identifier: GPL-2.0-or-later

/// Bytes a second over the last few seconds, from samples of an offset.
struct TransferRate {
    private struct Sample {
        var time: Duration
        var offset: UInt64
    }

    /// How far back the rate looks: long enough to be calm, short enough to follow a change.
    static let window = Duration.seconds(5)

    private var samples = [Sample(time: .zero, offset: 0)]

    /// - Parameter time: since the start of the run; not before the last sample's.
    mutating func add(offset: UInt64, at time: Duration) {
        samples.append(Sample(time: time, offset: offset))
        // The oldest sample kept lies at the window's far edge, so that the window is always covered.
        let spent = samples.dropLast().lastIndex { time - $0.time >= Self.window } ?? 0
        samples.removeFirst(spent)
    }

    /// Zero until something is known, and where the offset went back.
    var bytesPerSecond: UInt64 {
        let first = samples[0]
        let last = samples[samples.count - 1]
        guard last.offset > first.offset else { return 0 }
        return Self.rate(bytes: last.offset - first.offset, seconds: (last.time - first.time) / .seconds(1))
    }

    /// Zero where no time has passed; the most a `UInt64` holds where it is more.
    static func rate(bytes: UInt64, seconds: Double) -> UInt64 {
        guard seconds > 0 else { return 0 }
        let rate = Double(bytes) / seconds
        return rate < 0x1p64 ? UInt64(rate) : .max
    }
}
