// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupService
import FoundationEssentials
import Qcow2Format

/// The objects that the program prints for other programs, one to a line, keys in alphabetical order.
enum JSONLine {
    struct Progress: Encodable {
        let type = "progress"
        let percent: Double
        let offset: UInt64
        let len: UInt64
        let rate: UInt64
    }

    struct Failure: Encodable {
        let type = "error"
        let code: String
        let message: String
        let advice: String?
    }

    struct Warning: Encodable {
        let type = "warning"
        let message: String
    }

    struct Repair: Encodable {
        let type = "repair"
        let message: String
    }

    /// A run that stands still, or goes on.
    struct Pause: Encodable {
        let type = "status"
        let status: String
    }

    struct Extent: Encodable {
        let start: UInt64
        let length: UInt64
    }

    /// `true`, `false` or `"unknown"`.
    enum Truth: Encodable {
        case known(Bool)
        case unknown

        init(_ update: BitmapSummary.Update) {
            switch update {
            case .done: self = .known(true)
            case .failed: self = .known(false)
            case .unknown: self = .unknown
            }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .known(let value): try container.encode(value)
            case .unknown: try container.encode("unknown")
            }
        }
    }

    struct Summary: Encodable {
        let target: String
        /// The sync mode of what was made.
        let sync: String
        let bitmap: String?
        let bitmapMode: String?
        /// Whether the bitmap is up to the backup, or `unknown`; `nil` where it was to stay as it is.
        let bitmapUpdated: Truth?
        let parent: String?
        /// Of a restore: how much of the chain was proven.
        let proof: String?
        let manifest: String?
        /// Root digest of what the backup holds.
        let content: String?
        /// Why it is a full backup and not the increment that was asked for.
        let fallback: String?
        /// Of an increment: whether nothing had changed.
        let unchanged: Bool?
        let virtualSize: UInt64
        let bytesRead: UInt64
        let bytesWritten: UInt64
        let bytesZero: UInt64
        let bytesSkipped: UInt64
        let bytesOffloaded: UInt64
        let unreadable: [Extent]
        let targetLength: UInt64?
        let compressionRatio: Double?
        let seconds: Double
        let rate: UInt64

        enum CodingKeys: String, CodingKey {
            case target
            case sync
            case bitmap
            case bitmapMode = "bitmap-mode"
            case bitmapUpdated = "bitmap-updated"
            case parent
            case proof
            case manifest
            case content
            case fallback
            case unchanged
            case virtualSize = "virtual-size"
            case bytesRead = "bytes-read"
            case bytesWritten = "bytes-written"
            case bytesZero = "bytes-zero"
            case bytesSkipped = "bytes-skipped"
            case bytesOffloaded = "bytes-offloaded"
            case unreadable
            case targetLength = "target-length"
            case compressionRatio = "compression-ratio"
            case seconds
            case rate
        }
    }

    struct Bitmaps: Encodable {
        struct Bitmap: Encodable {
            let name: String
            let granularity: UInt64
            /// As qemu-img names them.
            let flags: [String]
            let recording: Bool
            let inconsistent: Bool
            /// Bytes that are dirty.
            let count: UInt64?
        }

        let image: String
        let bitmaps: [Bitmap]
    }

    struct Comparison: Encodable {
        let identical: Bool
        /// What differs: content, allocation or size.
        let difference: String?
        let offset: UInt64?
        let virtualSizes: [UInt64]

        enum CodingKeys: String, CodingKey {
            case identical
            case difference
            case offset
            case virtualSizes = "virtual-sizes"
        }
    }

    static func comparison(_ report: CompareReport) -> String {
        let (difference, offset): (String?, UInt64?) =
            switch report.difference {
            case .content(let offset): ("content", offset)
            case .allocation(let offset): ("allocation", offset)
            case .length: ("size", nil)
            case nil: (nil, nil)
            }
        return encode(
            Comparison(
                identical: difference == nil, difference: difference, offset: offset,
                virtualSizes: [report.firstLength, report.secondLength]))
    }

    static func progress(_ report: ProgressReport) -> String {
        encode(
            Progress(
                percent: Double(report.permille) / 10, offset: report.offset, len: report.length,
                rate: report.bytesPerSecond))
    }

    static func error(_ error: ServiceError) -> String {
        encode(Failure(code: error.code.rawValue, message: error.message, advice: error.advice))
    }

    static func warning(_ message: String) -> String {
        encode(Warning(message: message))
    }

    static func pause(_ isPaused: Bool) -> String {
        encode(Pause(status: isPaused ? "paused" : "running"))
    }

    /// - Parameter isCompressed: whether the ratio says something.
    static func summary(_ summary: BackupSummary, isCompressed: Bool) -> String {
        encode(
            Summary(
                target: summary.target, sync: summary.sync.rawValue, bitmap: summary.bitmap?.name,
                bitmapMode: summary.bitmap?.mode.rawValue,
                bitmapUpdated: summary.bitmap?.update.map { Truth($0) }, parent: summary.bitmap?.parent,
                proof: summary.proof?.rawValue, manifest: summary.manifest?.path, content: summary.manifest?.content,
                fallback: summary.bitmap?.fallback,
                unchanged: summary.sync.isIncrement ? summary.bitmap?.isUnchanged : nil,
                virtualSize: summary.virtualSize, bytesRead: summary.bytesRead,
                bytesWritten: summary.bytesWritten, bytesZero: summary.bytesZero, bytesSkipped: summary.bytesSkipped,
                bytesOffloaded: summary.bytesOffloaded,
                unreadable: summary.unreadable.map { Extent(start: $0.lowerBound, length: UInt64($0.count)) },
                targetLength: summary.targetLength,
                compressionRatio: isCompressed ? summary.compressionRatio.map(thousandths) : nil,
                seconds: thousandths(summary.seconds), rate: summary.bytesPerSecond))
    }

    static func bitmaps(_ report: BitmapReport) -> String {
        let bitmaps = report.bitmaps.map { bitmap in
            Bitmaps.Bitmap(
                name: bitmap.name, granularity: bitmap.granularity,
                flags: (bitmap.defect == .inconsistent ? ["in-use"] : []) + (bitmap.isRecording ? ["auto"] : []),
                recording: bitmap.isRecording && bitmap.defect == nil, inconsistent: bitmap.defect != nil,
                count: bitmap.dirtyLength)
        }
        return encode(Bitmaps(image: report.image, bitmaps: bitmaps))
    }

    /// What a repair is about to do.
    static func repair(_ message: String) -> String {
        encode(Repair(message: message))
    }

    /// Rounds to three decimals. JSON has no infinity and no NaN; they become zero.
    static func thousandths(_ value: Double) -> Double {
        let scaled = (value * 1000).rounded()
        return scaled.isFinite ? scaled / 1000 : 0
    }

    static func encode(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let bytes = try? encoder.encode(value) else {
            preconditionFailure("strings, integers and finite numbers always encode")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
