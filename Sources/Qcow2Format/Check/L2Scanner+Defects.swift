// SPDX-License-Identifier: GPL-2.0-or-later

extension L2Scanner {
    /// Notes what is wrong with an entry itself.
    mutating func noteDefects(
        of mapping: L2Mapping, _ entry: L2Entry, _ bitmap: SubclusterBitmap, _ use: TableUse, _ guest: UInt64
    ) {
        guard !mapping.defects.isEmpty else { return }
        if case .compressed(let descriptor) = mapping.place {
            return noteCompressed(mapping.defects, at: descriptor.offset.bytes, bitmap, use, guest)
        }
        let offset = entry.hostOffset.bytes
        func note(
            _ defect: L2Mapping.Defects, _ kind: CheckProblem.Kind, _ reason: String, of subject: String = "L2 entry",
            at offset: UInt64? = nil, isWarning: Bool = false
        ) {
            guard mapping.defects.contains(defect) else { return }
            log.note(
                kind, isWarning ? .warning : .corruption, subject, at: offset, guest: guest, count: use.count, reason)
        }
        note(.reservedBits, .l2ReservedBits, "it has reserved bits set (\(hex(entry.rawValue)))")
        note(
            .zeroFlagInVersion2, .zeroFlag,
            "it has the zero flag, which version 2 doesn't have (\(hex(entry.rawValue)))")
        note(
            .ignoredZeroFlag, .l2ReservedBits,
            "it has the zero flag, which such images don't have (\(hex(entry.rawValue)))", isWarning: true)
        if !mapping.isZero {
            note(.copiedWithoutCluster, .l2ReservedBits, "it has the copied flag and no cluster", isWarning: true)
        }
        note(
            .subclustersWithoutCluster, .subclusters,
            "subclusters are allocated (\(hex(bitmap.rawValue))) and there is no cluster")
        note(
            .subclusterConflict, .subclusters, "subclusters are allocated and zero at once (\(hex(bitmap.rawValue)))")
        note(.unaligned, .clusterUnaligned, "it is not aligned to a cluster", of: "data cluster", at: offset)
        note(
            .misplaced, .clusterMisplaced, "it does not lie at the guest's offset, as all of an external data file do",
            of: "data cluster", at: offset)
    }

    private mutating func noteCompressed(
        _ defects: L2Mapping.Defects, at offset: UInt64, _ bitmap: SubclusterBitmap, _ use: TableUse, _ guest: UInt64
    ) {
        let reasons: [(L2Mapping.Defects, String)] = [
            (.copiedCompressed, "its entry has the copied flag, which none may have"),
            (.compressedInDataFile, "images with an external data file have none"),
            (.compressedWithBitmap, "it has a subcluster bitmap (\(hex(bitmap.rawValue)))"),
        ]
        for (defect, reason) in reasons where defects.contains(defect) {
            // One is enough to say that it can't be there at all.
            if defect == .compressedWithBitmap, defects.contains(.compressedInDataFile) { continue }
            log.note(.compressed, "compressed cluster", at: offset, guest: guest, count: use.count, reason)
        }
    }
}
