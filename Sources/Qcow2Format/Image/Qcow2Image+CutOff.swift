// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO

extension Qcow2Image {
    /// Finds out, from tables alone, whether all that a range shows lies inside its file: in this image or, where it leaves
    /// the range to them, in its backing files. Of a raw backing file nothing can be said.
    ///
    /// - Throws: what reading the first cluster behind the end of a file would throw, and what is wrong with tables.
    /// - Complexity: reads each L2 table once; clusters of a file are not read.
    public func checkNotCutOff(_ range: Range<UInt64>) async throws(BlockError) {
        try checkRange(at: range.lowerBound, length: range.upperBound - range.lowerBound)
        var position = range.lowerBound
        while position < range.upperBound {
            let runs = try await metadata.runs(at: GuestOffset(position), length: range.upperBound - position)
            for run in runs {
                switch run.kind {
                case .zero: break
                case .data(let host): try checkStored(host, run: run, fileLength: storage.length)
                case .compressed(let descriptor): try checkStored(descriptor, run: run)
                case .unallocated:
                    guard let image = backing as? Qcow2Image, run.guest.bytes < image.length else { continue }
                    try await image.checkNotCutOff(run.guest.bytes..<min(run.end, image.length))
                }
            }
            position = runs[runs.count - 1].end
        }
    }
}
