// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import DiskChain
import Qcow2Format

/// `qcowbackup [backup] [options] SOURCE TARGET`
struct BackupCommand: CopyingCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy a disk, or what changed in it, to TARGET.",
        usage: "qcowbackup [backup] [<options>] <SOURCE> <TARGET>",
        discussion: BackupHelp.discussion)

    @Argument(
        help: ArgumentHelp("The disk to back up: an image file or a block device.", valueName: "SOURCE"),
        completion: .file())
    var source: String

    @Argument(
        help: ArgumentHelp(
            "Where the backup goes: a new file, or with -n a block device or image.", valueName: "TARGET"),
        completion: .file())
    var target: String

    @OptionGroup(title: "Source")
    var sourceOptions: SourceOptions

    @OptionGroup(title: "Target")
    var targetOptions: TargetOptions

    @OptionGroup(title: "Bitmap")
    var bitmapOptions: BackupBitmapOptions

    @OptionGroup(title: "Manifest")
    var manifest: ManifestOptions

    @OptionGroup(title: "Compression")
    var compression: CompressionOptions

    @OptionGroup(title: "Copying")
    var copying: CopyingOptions

    @OptionGroup(title: "Output")
    var output: OutputOptions

    func validate() throws {
        try LocationCheck.check(source, named: "SOURCE")
        try LocationCheck.check(target, named: "TARGET")
        if let parent = bitmapOptions.parent { try LocationCheck.check(parent, named: "PARENT") }
        _ = try request()
    }

    /// What the service is asked to do.
    ///
    /// - Throws: `ValidationError` where options contradict each other or ask for what this version doesn't have.
    func request() throws -> BackupRequest {
        var request = BackupRequest(source: source, target: target)
        request.sync = try sourceOptions.sync.mode()
        request.sourceFormat = sourceOptions.sourceFormat
        bitmapOptions.apply(to: &request)
        // As with qemu-img create, -F goes with -b where that is given.
        if request.parent == nil {
            request.backingFormat = sourceOptions.backingFormat
        } else {
            request.parentFormat = sourceOptions.backingFormat
        }
        request.snapshot = sourceOptions.snapshot
        request.forceShare = sourceOptions.forceShare
        request.targetFormat = targetOptions.format ?? .qcow2
        targetOptions.apply(to: &request)
        request.compression = try compression.settings(targetOptions: targetOptions.options)
        manifest.apply(to: &request)
        try copying.apply(to: &request)
        return request
    }

    func copyingRun(in environment: ProgramEnvironment) throws -> CopyingRun {
        let request = try request()
        return CopyingRun(
            isCompressed: request.compression != nil, isStrict: bitmapOptions.isStrict,
            check: { () throws(ServiceError) in try request.check() },
            make: { canBeResumed, warn in
                var request = request
                request.canBeResumed = canBeResumed
                return environment.makeBackup(request, warn)
            })
    }
}
