// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// A folder with a small chain of images, where backups of it are disturbed and judged.
///
/// The judgement is always the same. A run that says it succeeded has made a target that equals the source. After any
/// other run the target is as it was, or absent, or refused by QEMU. The source is never touched.
final class FaultWorkshop: Sendable {
    let directory: TemporaryDirectory
    private let sources: [String: [UInt8]]
    private let emptyImage: [UInt8]
    /// The manifest of another backup, which is beside the image that a run is to replace.
    private let oldManifest: [UInt8]

    static let sourceName = "source.qcow2"
    static let targetName = "target.img"
    static let partialName = "target.img.partial"
    static let dataName = "target.data"
    static let manifestName = "target.img.manifest"
    static let length = 1 << 20

    init() async throws {
        let made = try await Self.made.value
        directory = try TemporaryDirectory()
        for name in ["base.qcow2", Self.sourceName, "empty.qcow2"] { try directory.write(made[name]!, to: name) }
        sources = made.filter { ["base.qcow2", Self.sourceName].contains($0.key) }
        emptyImage = made["empty.qcow2"]!
        oldManifest = made["old.qcow2.manifest"]!
    }

    /// The files of every workshop, made once: that takes many programs.
    private static let made = Task {
        let directory = try TemporaryDirectory()
        let base = directory.file("base.qcow2").string
        let source = directory.file(sourceName).string
        try await Program.qemuIMG.runSuccessfully(["create", "-q", "-f", "qcow2", base, "\(length)"])
        try await Program.qemuIO.runSuccessfully(
            ["-c", "write -P 1 0 192k", "-c", "write -P 2 512k 64k", "-c", "write -P 3 900k 100k", base])
        // Without a folder, so that a copy finds the one beside it.
        try await Program.qemuIMG.runSuccessfully(
            ["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", source])
        try await Program.qemuIO.runSuccessfully(
            [
                "-c", "write -P 4 64k 64k", "-c", "write -P 5 300k 4k", "-c", "write -z 512k 64k",
                "-c", "write -P 6 640k 64k", source,
            ])
        try await Program.qemuIMG.runSuccessfully(
            ["create", "-q", "-f", "qcow2", directory.file("empty.qcow2").string, "\(length)"])
        try await Program.qcowbackup.runSuccessfully(["--quiet", base, directory.file("old.qcow2").string])
        var files: [String: [UInt8]] = [:]
        for name in ["base.qcow2", sourceName, "empty.qcow2", "old.qcow2.manifest"] {
            files[name] = try directory.read(name)
        }
        return files
    }

    var source: String { directory.file(Self.sourceName).string }
    var target: String { directory.file(Self.targetName).string }
    var partial: String { directory.file(Self.partialName).string }

    /// Content of the target's path before a run; `nil` for none.
    func contentBefore(_ scenario: FaultScenario) -> [UInt8]? {
        switch scenario.before {
        case .nothing: nil
        case .oldImage, .emptyImage: emptyImage
        case .fullRaw: [UInt8](repeating: 0xEE, count: Self.length)
        }
    }

    /// Brings the target's path into the state that the scenario starts from.
    func prepare(_ scenario: FaultScenario) throws {
        let names = [Self.targetName, Self.dataName, Self.manifestName]
        for name in names.flatMap({ [$0, $0 + ".partial"] }) where directory.exists(name) {
            try FileManager.default.removeItem(atPath: directory.file(name).string)
        }
        for name in try directory.names() where name.hasPrefix(".qcowbackup-") {
            try FileManager.default.removeItem(atPath: directory.file(name).string)
        }
        if let content = contentBefore(scenario) { try directory.write(content, to: Self.targetName) }
        if scenario.before == .oldImage { try directory.write(oldManifest, to: Self.manifestName) }
    }

    /// The command line of a run, without the program.
    func arguments(_ scenario: FaultScenario, _ more: [String] = []) -> [String] {
        scenario.arguments.map { $0.replacing("FOLDER", with: directory.path.string) } + more + [source, target]
    }

    /// Runs the program as it is.
    func run(_ scenario: FaultScenario, _ more: [String] = []) async throws -> ProgramResult {
        try await Program.qcowbackup.run(arguments(scenario, more))
    }

    /// The calls that change a file or its name, or make that durable.
    static let changes = "pwrite64,fdatasync,fsync,ftruncate,fallocate,copy_file_range,rename,renameat2"

    /// Starts the program under strace. The trace goes to standard output.
    ///
    /// - Parameters:
    ///   - calls: what is traced.
    ///   - injection: as in strace's `-e inject=...`. What it is about must be traced.
    ///   - onSource: whether only calls on the source's files count.
    ///   - showsFiles: whether the trace names the file behind each descriptor.
    func startTraced(
        _ scenario: FaultScenario, calls: String, inject injection: String?, onSource: Bool = false,
        showsFiles: Bool = false, _ more: [String] = []
    ) throws -> RunningProgram {
        let program = try #require(Program.qcowbackup.path)
        var options = ["-f", "-s", "8", "-o", "/dev/stdout", "-e", "trace=\(calls)"]
        if let injection { options += ["-e", "inject=\(injection)"] }
        if showsFiles { options.append("-y") }
        if onSource { options += ["-P", source, "-P", directory.file("base.qcow2").string] }
        return try Program.strace.start(options + [program.string] + arguments(scenario, more))
    }

    /// What a run left.
    enum Left: Equatable {
        case absent
        case untouched
        /// Equal to the source, and without an error in its structure.
        case complete
        /// No qcow2 image, or a raw file without its first sector.
        case refused
        /// Opened by QEMU, and not the source.
        case wrong(String)
    }

    func whatIsLeft(_ scenario: FaultScenario) async throws -> Left {
        guard directory.exists(Self.targetName) else { return .absent }
        let content = try directory.read(Self.targetName)
        if let before = contentBefore(scenario), haveSameBytes(content, before) { return .untouched }
        let format = scenario.isRaw ? "raw" : "qcow2"
        let compared = try await Program.qemuIMG.run(["compare", "-f", "qcow2", "-F", format, source, target])
        if compared.exitCode == 0 {
            guard !scenario.isRaw else { return .complete }
            let checked = try await Program.qemuIMG.run(["check", "-q", "-f", "qcow2", target])
            return checked.exitCode == 0 ? .complete : .wrong("check: \(checked)")
        }
        if scenario.isRaw {
            return areZero(content.prefix(512)) ? .refused : .wrong("compare: \(compared)")
        }
        let opened = try await Program.qemuIMG.run(["info", "-f", "qcow2", target])
        return opened.exitCode == 0 ? .wrong("compare: \(compared)") : .refused
    }

    /// Judges a run by its exit code and by what it left.
    ///
    /// - Parameters:
    ///   - wasKilled: whether the run was ended from outside, without a chance to tidy up.
    ///   - keepsPartial: whether `--keep-partial` was given.
    ///   - causes: texts of which the message of a failed run must contain one.
    func judge(
        _ scenario: FaultScenario, _ result: ProgramResult, expecting codes: Set<Int32>, wasKilled: Bool = false,
        keepsPartial: Bool = false, causes: [String] = [], _ context: String
    ) async throws {
        let left = try await whatIsLeft(scenario)
        let comment: Comment = "\(context): \(left), \(result)"
        #expect(codes.contains(result.exitCode), comment)
        for (name, bytes) in sources {
            let now = try directory.read(name)
            let isSame = haveSameBytes(now, bytes)
            #expect(isSame, "the source is untouched: \(comment)")
        }
        if result.exitCode == 0 {
            #expect(left == .complete, comment)
        } else if wasKilled {
            // The last moment in which a kill can hit is behind the rename.
            let inPlace = scenario.before == .emptyImage || scenario.before == .fullRaw
            let allowed: [Left] =
                (scenario.before == .nothing ? [.absent] : [.untouched]) + [.complete] + (inPlace ? [.refused] : [])
            #expect(allowed.contains(left), comment)
        } else {
            switch scenario.before {
            case .nothing: #expect(left == .absent, comment)
            case .oldImage:
                #expect(left == (isReplaced(result) ? .complete : .untouched), comment)
            case .emptyImage, .fullRaw:
                #expect(left == .untouched || left == .refused || isUnmarked(result), comment)
            }
        }
        if !isUnmarked(result) {
            try await judgeManifest(scenario, left, result, wasKilled: wasKilled, comment)
        }
        if !wasKilled && !(keepsPartial && result.exitCode != 0) {
            #expect(try !directory.names().contains { $0.hasSuffix(".partial") }, comment)
        }
        if result.exitCode == 1 {
            let lines = result.standardError.split(separator: "\n")
            #expect(lines.count == 1, "one line: \(comment)")
            #expect(result.standardError.hasPrefix("qcowbackup: "), comment)
            #expect(result.standardError.contains(directory.path.string), "names a file: \(comment)")
            if !causes.isEmpty {
                #expect(causes.contains { result.standardError.contains($0) }, "names the cause: \(comment)")
            }
        }
    }

    /// Whether the name has changed hands although the run failed: then the old file can't be had back.
    private func isReplaced(_ result: ProgramResult) -> Bool {
        let message = result.standardError
        guard message.contains("everything is copied") else { return false }
        return message.contains("making the name durable") || message.contains(Self.manifestName)
    }

    /// Whether the run says that what it left may look whole. A close that is failed by injection doesn't close: the file
    /// and its lock stay open, so the run can't get hold of it again to mark it.
    private func isUnmarked(_ result: ProgramResult) -> Bool {
        result.standardError.contains("close failed")
            && result.standardError.contains("could not be marked as unfinished")
    }

    /// What is complete has its own manifest, once something has looked for it; what stays as it was keeps its own.
    private func judgeManifest(
        _ scenario: FaultScenario, _ left: Left, _ result: ProgramResult, wasKilled: Bool, _ comment: Comment
    ) async throws {
        if left == .complete {
            // The old one goes last, so that it is there as long as its backup.
            if scenario.isRestore {
                return #expect(!directory.exists(Self.manifestName) || result.exitCode != 0, comment)
            }
            let verified = try await Program.qcowbackup.run(
                ["verify", "-f", scenario.isRaw ? "raw" : "qcow2", "-q", target])
            // What a backup of the top layer is based on has no manifest.
            #expect(directory.exists(Self.manifestName), comment)
            let isProven = !scenario.arguments.contains("--sync=top")
            #expect(verified.exitCode == (isProven ? 0 : 1), "\(comment): \(verified)")
            #expect(!verified.standardOutput.contains("can't be used"), "\(comment): \(verified)")
            #expect(!verified.standardOutput.contains("another backup"), "\(comment): \(verified)")
            let state = directory.file(Self.targetName + ".verified").string
            if FileManager.default.fileExists(atPath: state) { try FileManager.default.removeItem(atPath: state) }
        } else if scenario.before == .oldImage {
            #expect(try directory.read(Self.manifestName) == oldManifest, comment)
        }
    }

    /// A run after one that was killed finds its way, and leaves nothing behind.
    func judgeNextRun(_ scenario: FaultScenario, _ context: String) async throws {
        var next = scenario
        if scenario.before == .nothing {
            next = FaultScenario(
                name: scenario.name, arguments: scenario.arguments + ["--force"], before: .nothing,
                isRaw: scenario.isRaw)
        }
        if scenario.before == .emptyImage {
            // What was being written into no longer is an image.
            next = FaultScenario(name: scenario.name, arguments: ["--force"], before: .nothing)
        }
        var result = try await run(next)
        for name in [Self.partialName, Self.dataName + ".partial"]
        where result.standardError.contains("\(directory.file(name)) is in the way") {
            // Whole but for its name, and nothing says that it is a backup: that isn't the program's to remove.
            let start = try directory.read(name).prefix(10)
            #expect(!start.starts(with: "qcowbackup".utf8), "\(context): \(result)")
            try FileManager.default.removeItem(atPath: directory.file(name).string)
            result = try await run(next)
        }
        try await judge(next, result, expecting: [0], "\(context), the next run")
    }
}

extension FaultWorkshop.Left: CustomStringConvertible {
    var description: String {
        switch self {
        case .absent: "absent"
        case .untouched: "untouched"
        case .complete: "complete"
        case .refused: "refused"
        case .wrong(let reason): "opened and WRONG (\(reason))"
        }
    }
}

/// Conditions of the tests.
enum FaultTestNeeds {
    static let all = [Program.qemuIMG, .qemuIO, .strace, .qcowbackup].allSatisfy(\.isInstalled)
    static let comment: Comment = "needs qemu-img, qemu-io, strace and the program"
}
