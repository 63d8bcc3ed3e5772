// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Everything in the first cluster of an image: the header, its extensions and the backing file's name.
///
/// Unknown extensions and header fields are kept, so that rewriting loses nothing.
struct HeaderCluster: Sendable, Equatable {
    var header: Qcow2Header
    var extensions: [HeaderExtension]
    /// The backing file's name as stored; empty for none. Bytes, because file names need not be text.
    private var backingFileNameBytes: [UInt8]

    /// As stored: a path, relative to the image's folder, or a `json:` description.
    var backingFileName: String? {
        backingFileNameBytes.isEmpty ? nil : String(decoding: backingFileNameBytes, as: UTF8.self)
    }

    /// Whether the backing file's name is text. Others can be kept, not followed.
    var hasTextualBackingFileName: Bool { Self.isText(backingFileNameBytes) }

    /// Whether bytes are UTF-8 and fit for a C string.
    static func isText(_ bytes: [UInt8]) -> Bool {
        String(validating: bytes, as: UTF8.self) != nil && !bytes.contains(0)
    }

    init(header: Qcow2Header, extensions: [HeaderExtension] = [], backingFileName: String? = nil) {
        self.header = header
        self.extensions = extensions
        backingFileNameBytes = Array((backingFileName ?? "").utf8)
    }

    /// Decodes the first cluster.
    ///
    /// - Parameter bytes: the file from its start on, as much of its first cluster as there is.
    init(header: Qcow2Header, decoding bytes: RawSpan) throws(Qcow2Error.Problem) {
        self.header = header
        // The cluster size has been checked, so the shift is safe and the product fits.
        let clusterLength = UInt64(1) << UInt64(header.clusterBits)
        let available = min(clusterLength, UInt64(bytes.byteCount))
        extensions = []
        backingFileNameBytes = []

        var end = available
        if header.backingFileOffset != 0 {
            let length = UInt64(header.backingFileLength)
            guard header.backingFileLength <= Qcow2Limits.backingFileNameLength else {
                throw .headerField(
                    name: "backing_file_size", value: length,
                    rule: "too large: at most \(Qcow2Limits.backingFileNameLength) bytes")
            }
            guard let nameEnd = header.backingFileOffset.adding(length), nameEnd <= clusterLength else {
                throw .headerField(
                    name: "backing_file_offset", value: header.backingFileOffset,
                    rule: "the backing file name must lie in the first cluster")
            }
            guard nameEnd <= available else { throw .truncatedHeader(length: available) }
            end = header.backingFileOffset
        }
        try decodeExtensions(in: bytes, upTo: end)
        do {
            if header.backingFileOffset != 0, header.backingFileLength > 0 {
                backingFileNameBytes = try bytes.bytes(
                    at: Int(header.backingFileOffset), count: Int(header.backingFileLength))
            }
        } catch {
            throw .truncatedHeader(length: available)
        }
    }

    private mutating func decodeExtensions(in bytes: RawSpan, upTo end: UInt64) throws(Qcow2Error.Problem) {
        var offset = UInt64(header.headerLength)
        do {
            while offset + 8 <= end {
                let type: UInt32 = try bytes.bigEndian(at: Int(offset))
                let length: UInt32 = try bytes.bigEndian(at: Int(offset) + 4)
                if type == 0 { return }
                let start = offset + 8
                // Both are below 2^33.
                guard start + UInt64(length) <= end else {
                    throw Qcow2Error.Problem.headerExtension(
                        type: type, rule: "its length of \(length) bytes is too large: it leaves the header cluster")
                }
                extensions.append(
                    HeaderExtension(type: type, data: try bytes.bytes(at: Int(start), count: Int(length))))
                offset = start + (UInt64(length) + 7) & ~7
            }
        } catch let problem as Qcow2Error.Problem {
            throw problem
        } catch {
            throw .truncatedHeader(length: UInt64(bytes.byteCount))
        }
    }

    /// Whether there are bitmaps that may be relied on.
    var hasBitmaps: Bool {
        header.version >= 3 && header.autoclearFeatures.contains(.bitmaps) && data(of: HeaderExtension.bitmaps) != nil
    }

    /// Takes back what the image promises and a writer doesn't keep.
    ///
    /// - Parameter keepsBitmaps: whether bitmaps that may be relied on stay so; all others go.
    mutating func clearUnkeptFeatures(keepsBitmaps: Bool) {
        let hadBitmaps = hasBitmaps
        header.autoclearFeatures.formIntersection(.rawExternalData)
        if keepsBitmaps, hadBitmaps {
            header.autoclearFeatures.insert(.bitmaps)
        } else {
            extensions.removeAll { $0.type == HeaderExtension.bitmaps || $0.type == HeaderExtension.bitmapOrigins }
        }
    }

    /// Sets or, with `nil`, removes what leads to the bitmaps.
    mutating func setBitmaps(_ value: HeaderExtension?) {
        set(value, type: HeaderExtension.bitmaps)
        if value == nil {
            header.autoclearFeatures.remove(.bitmaps)
        } else {
            header.autoclearFeatures.insert(.bitmaps)
        }
    }

    /// Which backup this is; `nil` where nothing is known.
    var identity: BackupIdentity? {
        get { data(of: HeaderExtension.backupIdentity).flatMap { BackupIdentity(decoding: $0) } }
        set { set(newValue?.encoded(), type: HeaderExtension.backupIdentity) }
    }

    /// Since which backups the bitmaps count.
    var bitmapOrigins: BitmapOrigins {
        get { BitmapOrigins(decoding: data(of: HeaderExtension.bitmapOrigins) ?? []) }
        set { set(newValue.encoded(), type: HeaderExtension.bitmapOrigins) }
    }

    /// Sets or, with `nil`, removes an extension. A new one comes last, so that no other one moves.
    private mutating func set(_ value: HeaderExtension?, type: UInt32) {
        guard let value else { return extensions.removeAll { $0.type == type } }
        if let index = extensions.firstIndex(where: { $0.type == type }) {
            extensions[index] = value
        } else {
            extensions.append(value)
        }
    }

    /// The content of the extension of a type, if the image has it.
    func data(of type: UInt32) -> [UInt8]? {
        extensions.first { $0.type == type }?.data
    }

    /// The first cluster, whole. Where it is too small for everything, extensions that are nothing but notes are left out,
    /// the names of features first, which are for readers that don't know them.
    ///
    /// - Throws: `.option` where it does not hold the rest.
    mutating func fitted() throws(Qcow2Error.Problem) -> [UInt8] {
        for type in [HeaderExtension.featureNameTable, HeaderExtension.bitmapOrigins, HeaderExtension.backupIdentity] {
            if let bytes = try? encoded() { return bytes }
            extensions.removeAll { $0.type == type }
        }
        return try encoded()
    }

    /// The first cluster, whole.
    ///
    /// - Throws: `.option` where it does not hold everything.
    func encoded() throws(Qcow2Error.Problem) -> [UInt8] {
        var header = header
        var rest: [UInt8] = []
        for item in extensions {
            rest.appendBigEndian(item.type)
            rest.appendBigEndian(UInt32(item.data.count))
            rest += item.data
            rest += [UInt8](repeating: 0, count: -item.data.count & 7)
        }
        // End of the extensions: type 0, length 0.
        rest.appendBigEndian(UInt64(0))
        let name = backingFileNameBytes
        if name.isEmpty {
            header.backingFileOffset = 0
            header.backingFileLength = 0
        } else {
            guard name.count <= Int(Qcow2Limits.backingFileNameLength) else {
                throw .option(
                    name: "backing_file",
                    rule: "the name is too long: \(name.count) bytes, at most \(Qcow2Limits.backingFileNameLength)")
            }
            header.backingFileOffset = UInt64(header.headerLength) + UInt64(rest.count)
            header.backingFileLength = UInt32(name.count)
            rest += name
        }
        var cluster = header.encoded() + rest
        let clusterLength = 1 << Int(header.clusterBits)
        guard cluster.count <= clusterLength else {
            throw .option(
                name: "cluster_size",
                rule: "the header and the backing file name need \(cluster.count) bytes, more than a cluster")
        }
        cluster += [UInt8](repeating: 0, count: clusterLength - cluster.count)
        return cluster
    }
}
