// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import BlockIO

/// `qcowbackup map IMAGE`
struct MapCommand: ProgramCommand {
    enum Output: String, CaseIterable, ExpressibleByArgument {
        case human
        case json
        case textMap = "text-map"
        case svg
    }

    static let configuration = CommandConfiguration(
        commandName: "map",
        abstract: "Show how a disk is stored: which layer of its chain holds what, and where.",
        discussion: """
            human and json are those of qemu-img map; "compressed" is a key that newer ones of it have. \
            text-map is a picture for a terminal, svg one for a browser: a row for each layer, cut into cells, so that \
            one sees which layer holds what, and with --bitmap what was written to.

            EXIT CODES:
              0      everything is shown
              1      failed; what was found before is shown
              2      the command line was wrong
            """)

    @OptionGroup var options: ImageOptions

    @Option(
        name: .customLong("snapshot"),
        help: ArgumentHelp("Map this internal snapshot, by name or id, not the active state.", valueName: "name"))
    var snapshot: String?

    @Option(
        name: [.customShort("s"), .customLong("start-offset")],
        help: ArgumentHelp("First byte of the disk to list.", valueName: "offset"))
    var start: ByteSizeArgument?

    @Option(
        name: [.customShort("l"), .customLong("max-length")],
        help: ArgumentHelp("How much of the disk to list. (default: up to its end)", valueName: "length"))
    var length: ByteSizeArgument?

    @Option(
        help: ArgumentHelp("Show in a picture what is dirty in this bitmap of IMAGE.", valueName: "name"))
    var bitmap: String?

    @Option(
        help: ArgumentHelp("Cut the disk of a picture into this many rows for each layer.", valueName: "number"))
    var rows: Int?

    @Option(help: ArgumentHelp("Form of the result.", valueName: "form"))
    var output = Output.human

    private static let maximumRows = 256

    private var isPicture: Bool { output == .textMap || output == .svg }

    func validate() throws {
        if let snapshot, snapshot.isEmpty { throw ValidationError("--snapshot takes a name or an id") }
        if isPicture, start != nil || length != nil {
            throw ValidationError("--output=\(output.rawValue) shows the whole disk: -s and -l are for lists")
        }
        if !isPicture, bitmap != nil || rows != nil {
            throw ValidationError("--bitmap and --rows are for --output=text-map and --output=svg")
        }
        if let rows, !(1...Self.maximumRows).contains(rows) {
            throw ValidationError("--rows is a number from 1 to \(Self.maximumRows), not \(rows)")
        }
    }

    var request: MapRequest {
        var request = MapRequest(image: options.image)
        request.format = options.format
        request.backingFormat = options.backingFormat
        request.snapshot = snapshot
        request.forceShare = options.forceShare
        request.start = start?.bytes ?? 0
        request.length = length?.bytes
        return request
    }

    func run(in environment: ProgramEnvironment) -> ProgramStatus {
        let messages = Messages(console: environment.console, printsJSON: output == .json)
        let operation = MapOperation(request, warn: messages.warn)
        return isPicture ? draw(operation, messages) : list(operation, messages)
    }

    private func list(_ operation: MapOperation, _ messages: Messages) -> ProgramStatus {
        let isJSON = output == .json
        // How each entry is printed depends on whether there was one before.
        let printer = Locked<any MapPrinter>(isJSON ? MapJSONPrinter() : MapTextPrinter(image: options.image))
        let isWritten = Locked(true)
        let console = messages.console
        let print: @Sendable (String) -> Bool = { text in
            let isDone = text.isEmpty || console.writeOutput(text)
            if !isDone { isWritten.withLock { $0 = false } }
            return isDone
        }
        guard print(printer.withLock { $0.head }) else { return .failed }
        let result = waiting { () async throws(ServiceError) in
            try await operation.run { entries in
                print(printer.withLock { printer in entries.map { printer.text(for: $0) }.joined() })
                    && printer.withLock { $0.failure } == nil
            }
        }
        var failure: ServiceError?
        if case .failure(let error) = result { failure = error }
        if failure == nil, printer.withLock({ $0.failure }) == nil {
            _ = print(printer.withLock { $0.end(start: request.start) })
        } else {
            _ = print(printer.withLock { $0.rest })
        }
        messages.printWarnings()
        if let error = failure ?? printer.withLock({ $0.failure }) {
            messages.printError(error)
            return .failed
        }
        return isWritten.withLock { $0 } ? .success : .failed
    }

    private func draw(_ operation: MapOperation, _ messages: Messages) -> ProgramStatus {
        let columns = output == .svg ? MapPictureSVG.columns : MapPictureText.columns
        let (rows, bitmap) = (rows ?? 1, bitmap)
        let result = waiting { () async throws(ServiceError) in
            try await operation.picture(bands: rows, columns: columns, bitmap: bitmap)
        }
        messages.printWarnings()
        switch result {
        case .success(let picture):
            let text = output == .svg ? MapPictureSVG(picture).description : MapPictureText(picture).description
            return messages.console.writeOutput(text) ? .success : .failed
        case .failure(let error):
            messages.printError(error)
            return .failed
        }
    }
}

/// A number of bytes, with a unit.
struct ByteSizeArgument: ExpressibleByArgument, Equatable {
    let bytes: UInt64

    init?(argument: String) {
        guard let size = ByteSize(parsing: argument) else { return nil }
        bytes = size.bytes
    }
}
