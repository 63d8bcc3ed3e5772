// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import Qcow2Format

/// What the manifest beside an image is worth, by its first lines: neither its digests nor its seal are read.
package enum ManifestState: Sendable, Equatable {
    case missing
    case present(ManifestHeader)
    /// It can't be used; for what reason.
    case damaged(String)
    /// It is of another backup; why that is known.
    case foreign(String)

    /// What the manifest says of its backup; `nil` where there is none that is this one's.
    package var header: ManifestHeader? {
        if case .present(let header) = self { header } else { nil }
    }

    /// Reads a manifest that exists.
    init(_ file: ManifestFile) async {
        do throws(ServiceError) {
            self = .present(try await file.header())
        } catch {
            self = .damaged(error.message)
        }
    }

    /// The same state, or `foreign` where the image shows that the manifest is not its own.
    ///
    /// - Parameters:
    ///   - id: what the image says of itself; `nil` where it says nothing.
    ///   - virtualSize: bytes of the image's disk; `nil` where that is not known.
    ///   - isRaw: whether it is as long as its file or device, which may be longer than what was written to it.
    func checked(ofImage id: BackupID?, virtualSize: UInt64?, isRaw: Bool) -> ManifestState {
        guard let header else { return self }
        if let id, header.id != id.description {
            return .foreign("it is of another backup, made as \(Self.short(header.id))")
        }
        if let virtualSize, isRaw ? header.virtualSize > virtualSize : header.virtualSize != virtualSize {
            return .foreign("it is of a disk of \(header.virtualSize) bytes, and this one has \(virtualSize)")
        }
        return self
    }

    /// A text of a manifest's that is too long to be shown, made shorter.
    static func short(_ text: String) -> String {
        text.unicodeScalars.count > 100
            ? String(String.UnicodeScalarView(text.unicodeScalars.prefix(100))) + "..." : text
    }
}
