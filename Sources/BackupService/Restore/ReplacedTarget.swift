// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// What a restored disk takes the place of, where nobody says which format it is to have.
struct ReplacedTarget {
    let path: String

    /// What its user expects to find there. A path that can't be looked at is left to whoever opens it.
    var formatToWrite: ImageFormat {
        let status = try? FileStatus(path: path)
        return status?.kind == .blockDevice ? .raw : .qcow2
    }

    /// Refuses to put a qcow2 image in the place of something else: a virtual machine that expects a raw disk there would
    /// read it as one.
    func check() async throws(ServiceError) {
        guard let status = try? FileStatus(path: path), status.kind == .regular else { return }
        let isOther: Bool
        do throws(BlockError) {
            let file = try LocalStorage.open(path, access: .readOnly, lock: nil)
            guard file.length > 0 else { return }
            isOther = try await ImageFormat.recognised(in: file) != .qcow2
        } catch .layer(is ForeignFormatError) {
            isOther = true
        } catch {
            throw ServiceError(error)
        }
        if isOther {
            throw ServiceError(
                .usage, "\(path) is no qcow2 image, and would be replaced by one",
                advice: "say what it is to be: -O raw or -O qcow2")
        }
    }

    /// The image that is there; `nil` where there is none, or none that can be read.
    func image() async -> Qcow2File? {
        guard let status = try? FileStatus(path: path), status.kind == .regular else { return nil }
        do throws(BlockError) {
            return try await Qcow2File.opened(LocalStorage.open(path, access: .readOnly, lock: nil))
        } catch {
            return nil
        }
    }

    /// Says what goes with the image that is replaced, and what stays behind.
    ///
    /// - Parameter options: `-o` options of the new one.
    func warnOfLosses(
        of image: Qcow2File, options: [String], warn: (String) -> Void
    ) async {
        if let bitmaps = try? await image.openBitmaps().list, !bitmaps.isEmpty {
            let names = bitmaps.map { "'\($0.name)'" }.joined(separator: ", ")
            warn("\(path) has dirty bitmaps that the restored disk won't have: \(names)")
        }
        if image.snapshotCount > 0 {
            let noun = image.snapshotCount == 1 ? "snapshot" : "snapshots"
            warn("\(path) has \(image.snapshotCount) internal \(noun) that the restored disk won't have")
        }
        guard let dataFile = image.dataFilePath else { return }
        var new = Qcow2Options(size: 0)
        try? TargetOptions(options).apply(to: &new)
        let newPath = new.dataFileName.map { ServicePath.absolute(ImagePath.resolve($0, relativeTo: path)) }
        if newPath != ServicePath.absolute(dataFile) {
            warn("\(path) keeps its data in \(dataFile), which nothing uses once the disk is restored: remove it then")
        }
    }
}
