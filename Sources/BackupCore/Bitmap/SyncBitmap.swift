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
            try update { (bitmap) throws(DirtyBitmapError) in
                if mode != .never { try bitmap.checkWritable() }
                try bitmap.createSuccessor()
            }
        } catch {
            throw JobError(error)
        }
    }

    /// Makes dirty in `copyBitmap` what the bitmap says is to be copied: with what was written since it was frozen, as
    /// the point in time is now.
    func fill(_ copyBitmap: inout DirtyBitmap) {
        guard let bitmap = device.withBitmaps({ $0.find(name) }) else { return }
        copyBitmap.formUnion(bitmap.bits)
        if let successor = bitmap.successor { copyBitmap.formUnion(successor) }
    }

    /// Ends the freeze as the mode and the outcome say.
    ///
    /// - Parameter owed: what the target lacks of what it should hold. After success that is only what was given up.
    func settle(_ outcome: JobOutcome, owed: [DirtyBitmap]) {
        do throws(DirtyBitmapError) {
            try update { bitmap in
                switch (mode, outcome) {
                case (.never, _), (_, .neverStarted), (.onSuccess, .failure): bitmap.reclaim()
                case (.onSuccess, .success), (.always, _): bitmap.abdicate(keeping: owed)
                }
            }
        } catch {
            preconditionFailure("a frozen bitmap is gone: \(error)")
        }
    }

    private func update(_ body: (inout NamedBitmap) throws(DirtyBitmapError) -> Void) throws(DirtyBitmapError) {
        try device.withBitmaps { (bitmaps) throws(DirtyBitmapError) in try bitmaps.update(name, body) }
    }
}
