// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import FoundationEssentials

/// How far the proof of a backup came, kept beside it for the next run and for lists.
struct VerifyState: Sendable, Equatable, Codable {
    /// Which backup was looked at. Of another one, the state says nothing.
    var backup: String
    /// Root digest of the content that is proven.
    var content: String
    /// The files when they were last looked at: of a copy, or of one that was written to since, nothing is proven.
    var files: StoredFiles
    /// The range to go on with; 0 for the first.
    var nextRange: UInt64 = 0
    /// Ranges that were not as recorded when they were last looked at. Not more than the first thousand.
    var bad: [UInt64] = []
    /// Whether its structure was damaged when it was last looked at; `nil` for no.
    var isDamaged: Bool?
    /// When something was last checked.
    var checked: Date
    /// When all of it was last found as it was recorded; `nil` for never.
    var proven: Date?

    /// What the name of a backup's state ends with.
    static let suffix = ".verified"

    /// Ranges that are kept in mind.
    static let mostBad = 1000

    /// Longest file that is read.
    private static let maximumLength: UInt64 = 1 << 20

    /// Nothing is known yet.
    init(of backup: ManifestHeader, in files: StoredFiles) {
        self.backup = backup.id
        content = backup.content
        self.files = files
        checked = Date()
    }

    /// - Returns: `nil` where there is none that can be read.
    init?(path: String) async {
        guard let file = try? LocalStorage.open(path, access: .readOnly, lock: nil), file.length <= Self.maximumLength,
            let bytes = try? await file.contents(at: 0, count: Int(file.length))
        else { return nil }
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        guard var state = try? decoder.decode(Self.self, from: Data(bytes)) else { return nil }
        state.bad = Array(Set(state.bad).sorted().prefix(Self.mostBad))
        self = state
    }

    /// Whether it is of this backup, in whatever copy.
    func isOf(_ backup: ManifestHeader) -> Bool {
        self.backup == backup.id && content == backup.content
    }

    /// What of it holds for a backup as it is now.
    ///
    /// What was bad in another copy, or before something was written to the file, is worth looking at first.
    func applied(to backup: ManifestHeader, in files: StoredFiles) -> VerifyState {
        var result = VerifyState(of: backup, in: files)
        guard isOf(backup) else { return result }
        result.bad = bad
        guard files == self.files else { return result }
        result.nextRange = nextRange
        result.proven = proven
        return result
    }

    /// Writes the state. What was lost with it is proven again, so nothing waits for the disk.
    func write(to path: String) async throws(ServiceError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        encoder.dateEncodingStrategy = .iso8601
        let bytes: [UInt8]
        do {
            bytes = try Array(encoder.encode(self)) + [UInt8(ascii: "\n")]
        } catch {
            preconditionFailure("text and numbers can be encoded: \(error)")
        }
        let replaced = try? LocalStorage.open(path, access: .readOnly, lock: nil)
        if let replaced {
            let start = try? await replaced.contents(at: 0, count: Int(min(replaced.length, 1)))
            guard let start, Self.isState(start) else {
                throw ServiceError(.exists, "\(path) is in the way, and not what this program writes there")
            }
        }
        let place = FilePlace(path: path, content: .verifyState, replaced: replaced)
        let file = try await place.create(copyRange: .never, checksNaming: false)
        do throws(ServiceError) {
            try await translated { () async throws(BlockError) in
                let bytes = bytes
                try await file.device.resize(to: UInt64(bytes.count))
                try await file.device.write(at: 0, from: bytes.span.bytes)
            }
            try Publication(files: [file]).publish()
        } catch {
            file.remove()
            throw error
        }
    }

    /// Whether a file that begins so may be one of these, though perhaps a damaged one.
    static func isState(_ start: [UInt8]) -> Bool {
        start.isEmpty || [0, UInt8(ascii: "{")].contains(start[0])
    }

    enum CodingKeys: String, CodingKey {
        case backup, content, files, bad, checked, proven
        case nextRange = "next-range"
        case isDamaged = "damaged"
    }
}
