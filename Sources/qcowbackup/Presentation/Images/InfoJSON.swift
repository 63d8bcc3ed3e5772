// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BackupService
import DiskChain
import Qcow2Format

/// What is known of images, as qemu-img's JSON; what that has no key for is under `qcowbackup`.
struct InfoJSON: CustomStringConvertible {
    let description: String

    /// - Parameter isList: whether a list is wanted, also for one image.
    init(_ report: InfoReport, isList: Bool) {
        let nodes = report.images.map(Self.node)
        description = (isList ? JSONNode.list(nodes) : nodes[0]).lines() + "\n"
    }

    private static func node(_ image: ImageReport) -> JSONNode {
        var members: [(key: String, value: JSONNode)] = []
        if let format = image.backingFormat, image.backingFileName != nil {
            members.append(("backing-filename-format", .text(format)))
        }
        if let snapshots = image.qcow2?.snapshots, !snapshots.isEmpty {
            members.append(("snapshots", .list(snapshots.map(snapshot))))
        }
        members.append(("virtual-size", .number(image.virtualSize)))
        members.append(("filename", .text(image.path)))
        if let qcow2 = image.qcow2 { members.append(("cluster-size", .number(qcow2.facts.clusterLength))) }
        members.append(("format", .text(image.format.rawValue)))
        if let size = image.actualSize { members.append(("actual-size", .number(size))) }
        if let qcow2 = image.qcow2 {
            members.append(
                ("format-specific", .object([("type", .text("qcow2")), ("data", Qcow2Node.node(qcow2))])))
            if qcow2.facts.encryption != nil { members.append(("encrypted", .flag(true))) }
        }
        if let name = image.fullBackingFileName { members.append(("full-backing-filename", .text(name))) }
        if let name = image.backingFileName { members.append(("backing-filename", .text(name))) }
        members.append(("dirty-flag", .flag(image.qcow2?.facts.isDirty ?? false)))
        let extra = extra(image)
        if !extra.isEmpty { members.append(("qcowbackup", .object(extra))) }
        return .object(members)
    }

    private static func snapshot(_ snapshot: Snapshot) -> JSONNode {
        let perSecond: UInt64 = 1_000_000_000
        var members: [(key: String, value: JSONNode)] = []
        if let count = snapshot.instructionCount { members.append(("icount", .number(count))) }
        members += [
            ("vm-clock-nsec", .number(snapshot.vmClockNanoseconds % perSecond)), ("name", .text(snapshot.name)),
            ("date-sec", .number(UInt64(snapshot.dateSeconds))),
            ("date-nsec", .number(UInt64(snapshot.dateNanoseconds))),
            ("vm-clock-sec", .number(snapshot.vmClockNanoseconds / perSecond)), ("id", .text(snapshot.id)),
            ("vm-state-size", .number(snapshot.vmStateSize)),
        ]
        return .object(members)
    }

    private static func manifest(_ report: ManifestReport) -> JSONNode {
        let (state, reason) = report.state.summary
        var members: [(key: String, value: JSONNode)] = [("file", .text(report.path)), ("state", .text(state))]
        if let reason { members.append(("reason", .text(reason))) }
        guard let header = report.state.header else { return .object(members) }
        if let created = DateText.utc(header.created) { members.append(("created", .text(created))) }
        members += [
            ("writer", .text(header.writer)), ("sync", .text(header.sync)), ("digest", .text(header.digest)),
            ("content", .text(header.content)),
        ]
        var verified: [(key: String, value: JSONNode)] = [("state", .text(report.proof.state.rawValue))]
        if let date = report.proof.checked.flatMap(DateText.utc) { verified.append(("checked", .text(date))) }
        if let date = report.proof.proven.flatMap(DateText.utc) { verified.append(("proven", .text(date))) }
        verified.append(("bad", .number(UInt64(report.proof.badRanges))))
        members.append(("verified", .object(verified)))
        return .object(members)
    }

    private static func extra(_ image: ImageReport) -> [(key: String, value: JSONNode)] {
        var members: [(key: String, value: JSONNode)] = []
        if image.isUnfinished { members.append(("unfinished", .flag(true))) }
        if image.hasBlankHead { members.append(("blank-head", .flag(true))) }
        if let identity = image.qcow2?.identity {
            members.append(("backup-id", .text("\(identity.id)")))
            if let parent = identity.parent?.id { members.append(("parent-id", .text("\(parent)"))) }
        }
        if let report = image.manifest { members.append(("manifest", manifest(report))) }
        guard let facts = image.qcow2?.facts else { return members }
        if !facts.unknownFeatures.isEmpty {
            members.append(("unknown-features", .list(facts.unknownFeatures.map { .text($0) })))
        }
        if !facts.unknownExtensions.isEmpty {
            members.append(("unknown-extensions", .list(facts.unknownExtensions.map { .number(UInt64($0)) })))
        }
        if facts.hasStaleBitmaps { members.append(("stale-bitmaps", .flag(true))) }
        return members
    }
}
