// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import Qcow2Format

/// What the program's exit code says.
struct ProgramStatus: Equatable {
    let code: Int32

    /// Complete and on stable storage.
    static let success = ProgramStatus(code: 0)
    /// The target is absent or marked unfinished; or it is complete, and its bitmap could not be brought up to it.
    static let failed = ProgramStatus(code: 1)
    static let usage = ProgramStatus(code: 2)
    /// Complete and on stable storage, but for what could not be read.
    static let incomplete = ProgramStatus(code: 3)
    /// Complete, as a full backup because the bitmap could not be relied on.
    static let fallback = ProgramStatus(code: 4)
    /// Complete, and nothing had changed.
    static let unchanged = ProgramStatus(code: 5)
    /// Another process uses the image.
    static let locked = ProgramStatus(code: 11)

    /// Of two disks that were compared.
    static let different = ProgramStatus(code: 1)

    /// A comparison that came to no result: the codes of qemu-img.
    static func compareFailed(_ stage: CompareFailure.Stage) -> ProgramStatus {
        switch stage {
        case .opening: ProgramStatus(code: 2)
        case .mapping: ProgramStatus(code: 3)
        case .reading: ProgramStatus(code: 4)
        }
    }

    /// The format has nothing to check.
    static let unsupportedFormat = ProgramStatus(code: 63)

    /// What a proof comes to.
    init(_ verdict: VerifyReport.Verdict) {
        switch verdict {
        case .proven, .sound: self = .success
        case .unproven: self = .failed
        case .different: self = .changedSince
        case .bad: self = .notAsRecorded
        }
    }

    /// A backup is not what was written.
    static let notAsRecorded = ProgramStatus(code: 6)
    /// Nothing is wrong with a backup, and the disk has been written to since.
    static let changedSince = ProgramStatus(code: 7)

    static func signal(_ number: Int32) -> ProgramStatus {
        ProgramStatus(code: 128 + number)
    }

    /// What a finished backup says: the worst first.
    ///
    /// - Parameter isStrict: whether the user wants to be told of what is no failure.
    init(_ summary: BackupSummary, isStrict: Bool) {
        if let failure = summary.bitmapFailure {
            self.init(failure.code)
        } else if !summary.unreadable.isEmpty {
            self = .incomplete
        } else if isStrict, summary.bitmap?.fallback != nil {
            self = .fallback
        } else if isStrict, summary.bitmap?.isUnchanged == true {
            self = .unchanged
        } else {
            self = .success
        }
    }

    private init(code: Int32) {
        self.code = code
    }

    /// - Parameter signal: the signal that asked the run to end, if one did. It decides only where the run ended for that
    ///   reason: a failure of its own keeps its code.
    init(_ code: ServiceError.Code, signal: Int32? = nil) {
        switch code {
        case .usage: self = .usage
        case .locked: self = .locked
        case .cancelled: self = signal.map(Self.signal) ?? .failed
        case .notFound, .exists, .permission, .noSpace, .inconsistent, .bitmapNotUpdated, .corrupt, .unsupported, .io:
            self = .failed
        }
    }

    /// What a check found.
    init(_ report: CheckReport) {
        if report.checkErrors > 0 {
            self = .failed
        } else if report.corruptions > 0 {
            self = ProgramStatus(code: 2)
        } else {
            self = report.leaks > 0 ? ProgramStatus(code: 3) : .success
        }
    }
}
