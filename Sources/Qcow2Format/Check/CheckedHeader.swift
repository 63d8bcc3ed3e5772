// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// The header of an image that may be damaged: what of it can be used, with every broken rule noted.
struct CheckedHeader: Sendable {
    let header: HeaderCluster
    let layout: ImageLayout
    /// Whether no field breaks a rule, so that the image can be opened and repaired.
    let isSound: Bool
    /// Whether the fields that lead to the tables can be followed.
    let hasL1Table: Bool
    let hasRefcountTable: Bool

    /// Ends of tables are looked at where the tables are. File offsets are signed.
    private static let noLimit = UInt64(Int64.max)

    /// - Returns: `nil` where nothing else can be found without what is broken.
    static func read(_ file: any Storage, log: inout ProblemLog) async throws(BlockError) -> CheckedHeader? {
        let bytes = try await Qcow2File.headerBytes(of: file)
        var isSound = true
        func note(_ problem: Qcow2Error.Problem) {
            isSound = false
            log.note(.header, .unchecked, "header", at: 0, "\(problem)")
        }
        func passes(_ body: () throws(Qcow2Error.Problem) -> Void) -> Bool {
            do throws(Qcow2Error.Problem) {
                try body()
                return true
            } catch {
                note(error)
                return false
            }
        }
        let fields: Qcow2Header
        let geometry: ClusterGeometry
        do throws(Qcow2Error.Problem) {
            fields = try Qcow2Header(decoding: bytes.span.bytes)
            try ImageLayout.checkClusterBits(fields)
            try ImageLayout.checkEncryption(fields.encryptionMethod)
            geometry = try ImageLayout.geometry(fields)
        } catch {
            note(error)
            return nil
        }
        let header: HeaderCluster
        do throws(Qcow2Error.Problem) {
            header = try HeaderCluster(header: fields, decoding: bytes.span.bytes)
        } catch {
            note(error)
            header = HeaderCluster(header: fields)
        }
        if let length = lengthOfEnd(of: header, in: bytes) {
            note(.headerExtension(type: 0, rule: "the mark of the end has a length of \(length) bytes"))
        }
        let names = FeatureNameTable(data: header.data(of: HeaderExtension.featureNameTable) ?? [])
        let unknown = fields.incompatibleFeatures.subtracting(.supported)
        if !unknown.isEmpty {
            note(.incompatibleFeatures(names.names(of: unknown)))
            return nil
        }
        guard passes({ () throws(Qcow2Error.Problem) in try ImageLayout.checkRefcountOrder(fields) }) else {
            return nil
        }
        let compression = try? ImageLayout.compressionType(fields)
        _ = passes { () throws(Qcow2Error.Problem) in _ = try ImageLayout.compressionType(fields) }
        let hasL1Table = passes { () throws(Qcow2Error.Problem) in
            try Self.ignoringHeaderOverlap { () throws(Qcow2Error.Problem) in
                try ImageLayout.checkL1(fields, geometry: geometry, fileLength: Self.noLimit)
            }
        }
        let hasRefcountTable = hasRefcountTable(fields, geometry, log: &log)
        if fields.autoclearFeatures.contains(.rawExternalData),
            !fields.incompatibleFeatures.contains(.externalDataFile)
        {
            note(
                .headerField(
                    name: "autoclear_features", value: fields.autoclearFeatures.rawValue,
                    rule: "a raw external data file needs the bit for external data files"))
        }
        let layout = ImageLayout(
            version: fields.version, geometry: geometry, refcounts: RefcountCodec(order: Int(fields.refcountOrder)),
            size: ImageLayout.diskLength(fields), compressionType: compression ?? .zlib,
            hasExternalDataFile: fields.incompatibleFeatures.contains(.externalDataFile))
        return CheckedHeader(
            header: header, layout: layout, isSound: isSound, hasL1Table: hasL1Table,
            hasRefcountTable: hasRefcountTable)
    }

    /// Whether the refcount table can be followed. Where it can't, all refcounts are 0, and a repair makes new ones.
    private static func hasRefcountTable(
        _ fields: Qcow2Header, _ geometry: ClusterGeometry, log: inout ProblemLog
    ) -> Bool {
        guard fields.refcountTableClusters > 0 else { return false }
        do throws(Qcow2Error.Problem) {
            try ignoringHeaderOverlap { () throws(Qcow2Error.Problem) in
                try ImageLayout.checkRefcountTable(
                    fields, clusterLength: geometry.clusterLength, fileLength: noLimit)
            }
            return true
        } catch {
            log.note(.header, .unchecked, "header", at: 0, "\(error)")
            return false
        }
    }

    /// The length that the end of the extensions has, where it is more than there is room for: others refuse that.
    private static func lengthOfEnd(of header: HeaderCluster, in bytes: [UInt8]) -> UInt32? {
        let fields = header.header
        let name = fields.backingFileOffset
        let end = name == 0 ? bytes.count : min(Int(clamping: name), bytes.count)
        let start = header.extensions.reduce(Int(fields.headerLength)) { $0 + 8 + ($1.data.count + 7) / 8 * 8 }
        guard start + 8 <= end, let length: UInt32 = try? bytes.span.bytes.bigEndian(at: start + 4) else { return nil }
        return Int(length) > end - start - 8 ? length : nil
    }

    /// A table on top of the header shows up where references are counted.
    private static func ignoringHeaderOverlap(
        _ body: () throws(Qcow2Error.Problem) -> Void
    ) throws(Qcow2Error.Problem) {
        do throws(Qcow2Error.Problem) {
            try body()
        } catch {
            if case .overlaps = error { return }
            throw error
        }
    }
}
