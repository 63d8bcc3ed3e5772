// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps
import Testing

/// What may be done with a named bitmap, by what it is used for and what state it is in.
@Suite struct NamedBitmapTests {
    static let length: UInt64 = 1 << 20

    static func bitmap(
        _ name: String = "b", readOnly: Bool = false, inconsistent: Bool = false, recording: Bool = true
    ) throws -> NamedBitmap {
        try NamedBitmap(
            name: name, bits: DirtyBitmap(length: length, granularity: 65536), isRecording: recording,
            isReadOnly: readOnly, isInconsistent: inconsistent)
    }

    enum State: Sendable, CaseIterable {
        case usable, frozen, used, readOnly, inconsistent, readOnlyAndFrozen
    }

    enum Operation: Sendable, CaseIterable {
        case remove, clear, enable, disable, mergeInto, mergeFrom, freeze, use
    }

    static func error(_ operation: Operation, in state: State) -> DirtyBitmapError? {
        switch (operation, state) {
        case (_, .usable): nil
        // Those who only rely on the bits don't disturb each other.
        case (.use, .used): nil
        case (_, .frozen), (_, .used), (_, .readOnlyAndFrozen): .busy("b")
        case (.remove, .inconsistent): nil
        case (_, .inconsistent): .inconsistent("b")
        case (.remove, .readOnly), (.clear, .readOnly), (.mergeInto, .readOnly): .readOnly("b")
        case (_, .readOnly): nil
        }
    }

    @Test(arguments: Operation.allCases, State.allCases)
    func allowed(_ operation: Operation, in state: State) throws {
        var bitmap = try Self.bitmap(
            readOnly: state == .readOnly || state == .readOnlyAndFrozen, inconsistent: state == .inconsistent)
        if state == .frozen || state == .readOnlyAndFrozen { try bitmap.createSuccessor() }
        if state == .used { try bitmap.beginUse() }
        var bitmaps = NamedBitmaps(length: Self.length)
        try bitmaps.add(bitmap)
        try bitmaps.add("other", granularity: 512)
        let before = bitmaps.infos
        var thrown: DirtyBitmapError?
        do throws(DirtyBitmapError) {
            switch operation {
            case .remove: try bitmaps.remove("b")
            case .clear: try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.clear() }
            case .enable, .disable:
                try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in
                    try bitmap.setRecording(operation == .enable)
                }
            case .mergeInto:
                let other = try bitmaps.get("other").bits
                try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.merge([other]) }
            case .mergeFrom: try bitmaps.get("b").checkUsable()
            case .freeze:
                try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.createSuccessor() }
            case .use: try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.beginUse() }
            }
        } catch {
            thrown = error
        }
        #expect(thrown == Self.error(operation, in: state))
        if thrown != nil { #expect(bitmaps.infos == before) }
    }

    @Test func messages() {
        #expect("\(DirtyBitmapError.notFound("b"))" == "No dirty bitmap 'b'")
        #expect("\(DirtyBitmapError.exists("b"))" == "Bitmap 'b' exists already")
        #expect("\(DirtyBitmapError.emptyName)" == "Bitmap name must not be empty")
        #expect(
            "\(DirtyBitmapError.invalidGranularity(3))" == "Granularity must be a power of two, at least 512")
        #expect("\(DirtyBitmapError.busy("b"))" == "Bitmap 'b' is in use by another operation")
        #expect("\(DirtyBitmapError.readOnly("b"))" == "Bitmap 'b' is readonly and cannot be modified")
        #expect("\(DirtyBitmapError.inconsistent("b"))" == "Bitmap 'b' is inconsistent and unusable")
    }

    @Test func names() throws {
        var bitmaps = NamedBitmaps(length: Self.length)
        #expect(throws: DirtyBitmapError.emptyName) { try bitmaps.add("", granularity: 512) }
        let longest = String(repeating: "x", count: 1023)
        try bitmaps.add(longest, granularity: 512)
        #expect(throws: DirtyBitmapError.exists(longest)) { try bitmaps.add(longest, granularity: 512) }
        #expect(throws: DirtyBitmapError.nameTooLong(1024)) { try bitmaps.add(longest + "x", granularity: 512) }
        #expect(throws: DirtyBitmapError.nameTooLong(1024)) {
            try bitmaps.add(String(repeating: "ä", count: 512), granularity: 512)
        }
        #expect(throws: DirtyBitmapError.notFound("y")) { try bitmaps.remove("y") }
        #expect(throws: DirtyBitmapError.invalidGranularity(100)) { try bitmaps.add("y", granularity: 100) }
        #expect(bitmaps.infos.map(\.name) == [longest])
    }

    // MARK: Recording and the successor

    @Test(arguments: [false, true])
    func successorRecordsWhileTheBitsStand(recording: Bool) throws {
        let old: Range<UInt64> = 0..<65536
        var bitmap = try Self.bitmap()
        bitmap.record(0..<1)
        try bitmap.setRecording(recording)
        try bitmap.createSuccessor()
        bitmap.record(3 * 65536..<3 * 65536 + 1)
        #expect(bitmap.bits.dirtyRanges() == [old] && bitmap.isBusy && bitmap.isRecording == recording)
        let new: [Range<UInt64>] = recording ? [3 * 65536..<4 * 65536] : []
        let both: [Range<UInt64>] = [old] + new
        let late: Range<UInt64> = 4 * 65536..<6 * 65536

        var reclaimed = bitmap
        reclaimed.reclaim()
        #expect(reclaimed.bits.dirtyRanges() == both)
        var abdicated = bitmap
        abdicated.abdicate()
        #expect(abdicated.bits.dirtyRanges() == new)
        var keeping = bitmap
        var owed = try DirtyBitmap(length: Self.length, granularity: 131_072)
        owed.set(5 * 65536..<5 * 65536 + 1)
        keeping.abdicate(keeping: owed)
        #expect(keeping.bits.dirtyRanges() == (recording ? [3 * 65536..<6 * 65536] : [late]))
        var refrozen = bitmap
        refrozen.refreeze()
        #expect(refrozen.bits.dirtyRanges() == both && refrozen.isBusy)
        refrozen.record(5 * 65536..<5 * 65536 + 1)
        refrozen.abdicate()
        #expect(refrozen.bits.dirtyRanges() == (recording ? [5 * 65536..<6 * 65536] : []))
        for ended in [reclaimed, abdicated, keeping, refrozen] {
            #expect(!ended.isBusy && ended.isRecording == recording && ended.name == "b")
        }
    }

    @Test func recordsOnlyWhileEnabled() throws {
        var bitmaps = NamedBitmaps(length: Self.length)
        try bitmaps.add("on", granularity: 512)
        try bitmaps.add("off", granularity: 512, isRecording: false, isPersistent: true)
        try bitmaps.add(Self.bitmap("broken", inconsistent: true))
        bitmaps.record(1000..<1001)
        #expect(bitmaps.infos.map(\.count) == [512, 0, 0])
        #expect(bitmaps.infos.map(\.isRecording) == [true, false, false])
        #expect(bitmaps.infos.map(\.isPersistent) == [false, true, false])
    }

    @Test func mergeChangesNothingWhereItFails() throws {
        var bitmap = try Self.bitmap()
        var fine = try DirtyBitmap(length: Self.length, granularity: 512)
        fine.setAll()
        let odd = try DirtyBitmap(length: Self.length + 1, granularity: 512)
        #expect(throws: DirtyBitmapError.lengthsDiffer(Self.length, Self.length + 1)) { try bitmap.merge([fine, odd]) }
        #expect(bitmap.bits.isEmpty)
        try bitmap.merge([fine])
        #expect(bitmap.bits.dirtyRanges() == [0..<Self.length])
    }

    @Test(
        arguments: [
            (0, 65536), (512, 4096), (4096, 4096), (65536, 65536), (2 << 20, 65536), (5000, 65536), (.max, 65536),
        ] as [(UInt64, UInt64)])
    func defaultGranularity(clusterSize: UInt64, granularity: UInt64) {
        #expect(DirtyBitmap.defaultGranularity(clusterSize: clusterSize) == granularity)
    }

    @Test func anyChangeCanBeTakenBack() throws {
        var bitmaps = NamedBitmaps(length: Self.length)
        try bitmaps.add("b", granularity: 512)
        bitmaps.record(0..<1)
        let before = bitmaps.find("b")
        try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in
            try bitmap.clear()
            try bitmap.setRecording(false)
        }
        bitmaps.takeBack("b", to: before)
        #expect(bitmaps.infos[0].count == 512 && bitmaps.infos[0].isRecording)
        try bitmaps.remove("b")
        bitmaps.takeBack("b", to: before)
        #expect(bitmaps.infos[0].count == 512)
        bitmaps.takeBack("b", to: nil)
        #expect(bitmaps.infos.isEmpty)
    }

    /// A job that froze the bitmap goes by bits that were never to be: what was dirty before is so again for whoever comes
    /// next, however the job ends.
    @Test(arguments: [false, true]) func takingBackUnderAJob(isDone: Bool) throws {
        var bitmaps = NamedBitmaps(length: Self.length)
        try bitmaps.add("b", granularity: 512)
        bitmaps.record(0..<1)
        let before = bitmaps.find("b")
        try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in
            try bitmap.clear()
            try bitmap.createSuccessor()
        }
        bitmaps.record(1024..<1025)
        bitmaps.takeBack("b", to: before)
        try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in
            if isDone { bitmap.abdicate() } else { bitmap.reclaim() }
        }
        #expect(bitmaps.find("b")?.bits.dirtyRanges() == [0..<512, 1024..<1536])
    }

    /// Who came to rely on a bitmap since it was changed or added still can.
    @Test func takingBackKeepsTheUsers() throws {
        var bitmaps = NamedBitmaps(length: Self.length)
        try bitmaps.add("b", granularity: 512)
        let before = bitmaps.find("b")
        try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.createSuccessor() }
        bitmaps.takeBack("b", to: before)
        bitmaps.takeBack("b", to: nil)
        #expect(bitmaps.infos.map(\.isBusy) == [true])
        try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in bitmap.reclaim() }
    }
}
