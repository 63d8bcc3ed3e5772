// SPDX-License-Identifier: GPL-2.0-or-later

/// The digests of a range's units, as far as they are not zero.
struct RangeUnits: Sendable {
    /// The units that have a digest here, one bit each.
    private(set) var known: UInt16 = 0
    /// In the order of the units.
    private var digests: [Digest] = []

    /// - Parameter unit: the unit's place in the range.
    subscript(unit: Int) -> Digest? {
        get {
            let bit: UInt16 = 1 << UInt16(unit)
            return known & bit == 0 ? nil : digests[place(of: bit)]
        }
        set {
            let bit: UInt16 = 1 << UInt16(unit)
            let place = place(of: bit)
            switch (known & bit != 0, newValue) {
            case (true, let digest?): digests[place] = digest
            case (true, nil): digests.remove(at: place)
            case (false, let digest?): digests.insert(digest, at: place)
            case (false, nil): return
            }
            if newValue == nil { known &= ~bit } else { known |= bit }
        }
    }

    private func place(of bit: UInt16) -> Int {
        (known & (bit - 1)).nonzeroBitCount
    }
}
