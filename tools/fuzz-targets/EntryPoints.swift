// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import TestSupport

// What libFuzzer, which has the program's `main`, calls.

private let target: FuzzTarget = {
    guard let name = getenv("QCOWBACKUP_FUZZ_TARGET"), let target = FuzzTarget(rawValue: String(cString: name)) else {
        fatalError("QCOWBACKUP_FUZZ_TARGET names no target: run tools/fuzz")
    }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
package func testOneInput(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    target.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

/// Of images, half of the changes are made where they matter: blind ones mostly hit data.
@_cdecl("LLVMFuzzerCustomMutator")
package func mutate(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ limit: Int, _ seed: CUnsignedInt) -> Int {
    var random = SeededRandom(seed: UInt64(seed))
    guard target.takesImages, count > 600, Bool.random(using: &random) else { return anyMutation(bytes, count, limit) }
    var image = Array(UnsafeBufferPointer(start: bytes, count: count))
    ImageMutator.change(&image, &random)
    let length = min(image.count, limit)
    for index in 0..<length { bytes[index] = image[index] }
    return length
}

/// libFuzzer's own mutations.
@_silgen_name("LLVMFuzzerMutate")
private func anyMutation(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ limit: Int) -> Int
