// SPDX-License-Identifier: GPL-2.0-or-later

/// The named bitmaps of one disk, in the order in which they were added.
package struct NamedBitmaps: Sendable {
    /// Length of the disk in bytes.
    package let length: UInt64
    package private(set) var all: [NamedBitmap] = []

    /// - Parameter length: length of the disk in bytes.
    package init(length: UInt64) {
        self.length = length
    }

    package var infos: [BitmapInfo] {
        all.map { BitmapInfo($0) }
    }

    /// The bitmap of that name; `nil` where there is none.
    package func find(_ name: String) -> NamedBitmap? {
        all.first { $0.name == name }
    }

    /// The bitmap of that name.
    ///
    /// - Throws: `DirtyBitmapError.notFound`.
    package func get(_ name: String) throws(DirtyBitmapError) -> NamedBitmap {
        guard let bitmap = find(name) else { throw .notFound(name) }
        return bitmap
    }

    /// Changes the bitmap of that name.
    ///
    /// - Throws: `DirtyBitmapError.notFound`, and what `body` throws.
    package mutating func update<Result>(
        _ name: String, _ body: (inout NamedBitmap) throws(DirtyBitmapError) -> Result
    ) throws(DirtyBitmapError) -> Result {
        guard let index = all.firstIndex(where: { $0.name == name }) else { throw .notFound(name) }
        return try body(&all[index])
    }

    /// Takes note of a write to the disk.
    package mutating func record(_ range: Range<UInt64>) {
        for index in all.indices { all[index].record(range) }
    }

    /// Adds a clean bitmap.
    ///
    /// - Parameters:
    ///   - granularity: bytes that a bit stands for.
    ///   - isRecording: whether it takes note of writes from now on.
    ///   - isPersistent: whether it is to be stored with the disk.
    /// - Throws: `DirtyBitmapError.invalidGranularity`, `.emptyName`, `.nameTooLong`, `.exists`.
    package mutating func add(
        _ name: String, granularity: UInt64, isRecording: Bool = true, isPersistent: Bool = false
    ) throws(DirtyBitmapError) {
        let bits = try DirtyBitmap(length: length, granularity: granularity)
        try add(NamedBitmap(name: name, bits: bits, isRecording: isRecording, isPersistent: isPersistent))
    }

    /// Adds a bitmap as it is, one that was stored for example.
    ///
    /// - Throws: `DirtyBitmapError.exists`, `.lengthsDiffer`.
    package mutating func add(_ bitmap: NamedBitmap) throws(DirtyBitmapError) {
        if find(bitmap.name) != nil { throw .exists(bitmap.name) }
        if bitmap.bits.length != length { throw .lengthsDiffer(length, bitmap.bits.length) }
        all.append(bitmap)
    }

    /// - Throws: `DirtyBitmapError.notFound`, `.busy`, `.readOnly`.
    package mutating func remove(_ name: String) throws(DirtyBitmapError) {
        try get(name).checkRemovable()
        all.removeAll { $0.name == name }
    }

    /// Takes back an addition, a removal or a change of a bitmap, where no write was recorded since.
    ///
    /// - Parameter earlier: what `find` answered before; `nil` where there was none.
    package mutating func takeBack(_ name: String, to earlier: NamedBitmap?) {
        let index = all.firstIndex { $0.name == name }
        switch (index, earlier) {
        case (let index?, let earlier?): all[index].takeBack(to: earlier)
        // One that someone relies on by now is there to stay.
        case (let index?, nil): if !all[index].isBusy { all.remove(at: index) }
        case (nil, let earlier?): all.append(earlier)
        case (nil, nil): break
        }
    }
}
