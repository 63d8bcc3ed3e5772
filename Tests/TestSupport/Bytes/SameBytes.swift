// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Whether two pieces of memory hold the same. In a build for debugging, `==` takes a hundred times as long, and tests of whole
/// disks are little else.
package func haveSameBytes(_ one: ArraySlice<UInt8>, _ other: ArraySlice<UInt8>) -> Bool {
    one.withUnsafeBytes { one in
        other.withUnsafeBytes { other in
            one.count == other.count && (one.isEmpty || memcmp(one.baseAddress!, other.baseAddress!, one.count) == 0)
        }
    }
}

package func haveSameBytes(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    haveSameBytes(one[...], other[...])
}

/// Whether two pieces of memory, long enough both, hold the same in a range.
package func haveSameBytes(_ one: [UInt8], _ other: [UInt8], in range: Range<Int>) -> Bool {
    haveSameBytes(one[range], other[range])
}

/// Whether all bytes are zero.
package func areZero(_ bytes: ArraySlice<UInt8>) -> Bool {
    // A piece of memory that begins with zero and equals itself moved by one is zero throughout.
    bytes.first.map { $0 == 0 && haveSameBytes(bytes.dropFirst(), bytes.dropLast()) } ?? true
}
