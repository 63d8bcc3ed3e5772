// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps

/// Adds, removes or changes a bitmap.
package final class BitmapAction: TransactionAction {
    package enum Change: Sendable {
        /// - Parameter granularity: in bytes; `nil` chooses by the disk's clusters.
        case add(granularity: UInt64?, isPersistent: Bool, isRecording: Bool)
        case remove
        case clear
        case enable
        case disable
        /// Bitmaps of this or other devices.
        case merge([GuestDevice.BitmapSource])
    }

    private let device: GuestDevice
    private let bitmap: String
    private let change: Change
    /// The bitmap before the change; `nil` where there was none.
    private var earlier: NamedBitmap?

    package init(_ change: Change, _ bitmap: String, of device: GuestDevice) {
        self.change = change
        self.bitmap = bitmap
        self.device = device
    }

    package var name: String {
        switch change {
        case .add: "block-dirty-bitmap-add"
        case .remove: "block-dirty-bitmap-remove"
        case .clear: "block-dirty-bitmap-clear"
        case .enable: "block-dirty-bitmap-enable"
        case .disable: "block-dirty-bitmap-disable"
        case .merge: "block-dirty-bitmap-merge"
        }
    }

    package var knowsGroupedCompletion: Bool { false }

    package var devices: [GuestDevice] {
        guard case .merge(let sources) = change else { return [device] }
        return [device] + sources.map(\.device)
    }

    /// - Throws: `JobError.bitmap`.
    package func prepare(in group: TransactionGroup) async throws(JobError) {
        do throws(DirtyBitmapError) {
            try await prepare()
        } catch {
            throw .bitmap(error)
        }
    }

    private func prepare() async throws(DirtyBitmapError) {
        switch change {
        case .add(let granularity, let isPersistent, let isRecording):
            try await device.addBitmap(
                bitmap, granularity: granularity, isRecording: isRecording, isPersistent: isPersistent)
        case .remove: try change { (bitmaps) throws(DirtyBitmapError) in try bitmaps.remove(bitmap) }
        case .clear: try update { (bitmap) throws(DirtyBitmapError) in try bitmap.clear() }
        case .enable: try update { (bitmap) throws(DirtyBitmapError) in try bitmap.setRecording(true) }
        case .disable: try update { (bitmap) throws(DirtyBitmapError) in try bitmap.setRecording(false) }
        case .merge(let sources):
            let others = try GuestDevice.bits(of: sources)
            try update { (bitmap) throws(DirtyBitmapError) in try bitmap.merge(others) }
        }
    }

    private func update(_ body: (inout NamedBitmap) throws(DirtyBitmapError) -> Void) throws(DirtyBitmapError) {
        try change { (bitmaps) throws(DirtyBitmapError) in try bitmaps.update(bitmap, body) }
    }

    /// Changes the bitmap and remembers what it was, in one step.
    private func change(_ body: (inout NamedBitmaps) throws(DirtyBitmapError) -> Void) throws(DirtyBitmapError) {
        earlier = try device.withBitmaps { (bitmaps) throws(DirtyBitmapError) in
            let earlier = bitmaps.find(bitmap)
            try body(&bitmaps)
            return earlier
        }
    }

    package func undo() {
        device.withBitmaps { $0.takeBack(bitmap, to: earlier) }
    }
}
