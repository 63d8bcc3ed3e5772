// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps

/// A job's hold on the bitmap of its source that it works by or synchronises.
///
/// Made, it freezes the bitmap; until it is settled, no one else can change or remove the bitmap, so the name finds it.
struct SyncBitmap: Sendable {
    let device: GuestDevice
    let name: String
    let mode: BitmapMode

    /// Freezes the bitmap.
    ///
    /// - Throws: the bitmap cases of `JobError`.
    init(_ name: String, of device: GuestDevice, mode: BitmapMode) throws(JobError) {
        self.device = device
        self.name = name
        self.mode = mode
        do throws(DirtyBitmapError) {
            try device.withBitmaps { (bitmaps) throws(DirtyBitmapError) in
                try bitmaps.update(name) { (bitmap) throws(DirtyBitmapError) in
                    if mode != .never { try bitmap.checkWritable() }
                    try bitmap.createSuccessor()
                }
            }
        } catch {
            throw JobError(error)
        }
    }

    /// Freezes the bitmap again, with what was written since the first time: the point in time is now.
    ///
    /// - Returns: what it says is to be copied.
    func refreeze() -> DirtyBitmap {
        withFrozen { bitmap in
            bitmap.refreeze()
            return bitmap.bits
        }
    }

    /// Ends the freeze as the mode and the outcome say.
    ///
    /// - Parameter owed: what the target lacks of what it should hold. After success that is only what was given up.
    func settle(_ outcome: JobOutcome, owed: [DirtyBitmap]) {
        switch (mode, outcome) {
        case (.never, _), (_, .neverStarted), (.onSuccess, .failure): withFrozen { $0.reclaim() }
        case (.onSuccess, .success), (.always, _):
            // Brought to the bitmap's granularity outside the lock, which guests' writes need.
            var kept = withFrozen { $0.bits.makeEmpty() }
            for owed in owed { kept.formUnion(owed) }
            withFrozen { $0.abdicate(keeping: kept) }
        }
    }

    private func withFrozen<Result: Sendable>(_ body: (inout NamedBitmap) -> Result) -> Result {
        do throws(DirtyBitmapError) {
            return try device.withBitmaps { (bitmaps) throws(DirtyBitmapError) in try bitmaps.update(name, body) }
        } catch {
            preconditionFailure("a frozen bitmap is gone: \(error)")
        }
    }
}
