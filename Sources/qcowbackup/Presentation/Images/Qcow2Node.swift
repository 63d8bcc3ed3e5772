// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import Qcow2Format

/// What qemu-img calls the format-specific information of a qcow2 image, with its keys and in its order.
enum Qcow2Node {
    static func node(_ image: ImageReport.Qcow2) -> JSONNode {
        let facts = image.facts
        var members: [(key: String, value: JSONNode)] = [
            ("compat", .text(facts.version == 2 ? "0.10" : "1.1")),
            ("compression-type", .text(facts.compressionType == .zlib ? "zlib" : "zstd")),
        ]
        let isVersion3 = facts.version >= 3
        if isVersion3 { members.append(("lazy-refcounts", .flag(facts.hasLazyRefcounts))) }
        if !image.bitmaps.isEmpty { members.append(("bitmaps", .list(image.bitmaps.map(bitmap)))) }
        members.append(("refcount-bits", .number(UInt64(facts.refcountBits))))
        if let encryption = facts.encryption { members.append(("encrypt", encrypt(encryption, image.luks))) }
        if isVersion3 {
            if let name = image.dataFileName { members.append(("data-file", .text(name))) }
            if image.hasDataFile { members.append(("data-file-raw", .flag(facts.isDataFileRaw))) }
            members.append(("corrupt", .flag(facts.isMarkedCorrupt)))
            members.append(("extended-l2", .flag(facts.hasSubclusters)))
        }
        return .object(members)
    }

    private static func bitmap(_ bitmap: PersistentBitmap) -> JSONNode {
        let flags = (bitmap.defect == .inconsistent ? ["in-use"] : []) + (bitmap.isRecording ? ["auto"] : [])
        return .object([
            ("flags", .list(flags.map { .text($0) })), ("name", .text(bitmap.name)),
            ("granularity", .number(bitmap.granularity)),
        ])
    }

    private static func encrypt(_ method: EncryptionMethod, _ luks: LUKSHeader?) -> JSONNode {
        guard method == .luks else { return .object([("format", .text("aes"))]) }
        guard let luks else { return .object([("format", .text("luks"))]) }
        // Mode and generator are stored as one, such as xts-plain64 or cbc-essiv:sha256.
        let mode = luks.cipherMode.prefix { $0 != "-" }
        let generator = luks.cipherMode.dropFirst(mode.count + 1).split(separator: ":", maxSplits: 1)
        // XTS needs two keys.
        let keyBits = UInt64(luks.keyLength) * 8 / (mode == "xts" ? 2 : 1)
        var members: [(key: String, value: JSONNode)] = [
            ("ivgen-alg", .text(generator.first.map(String.init) ?? ""))
        ]
        if generator.count == 2 { members.append(("ivgen-hash-alg", .text(String(generator[1])))) }
        members += [
            ("hash-alg", .text(luks.hashName)), ("cipher-alg", .text("\(luks.cipherName)-\(keyBits)")),
            ("uuid", .text(luks.uuid)), ("format", .text("luks")), ("cipher-mode", .text(String(mode))),
            ("slots", .list(luks.slots.map(slot))), ("payload-offset", .number(luks.payloadOffset)),
            ("master-key-iters", .number(UInt64(luks.masterKeyIterations))),
        ]
        return .object(members)
    }

    private static func slot(_ slot: LUKSHeader.Slot) -> JSONNode {
        guard slot.isActive else {
            return .object([("active", .flag(false)), ("key-offset", .number(slot.keyOffset))])
        }
        return .object([
            ("active", .flag(true)), ("iters", .number(UInt64(slot.iterations))),
            ("key-offset", .number(slot.keyOffset)), ("stripes", .number(UInt64(slot.stripes))),
        ])
    }
}
