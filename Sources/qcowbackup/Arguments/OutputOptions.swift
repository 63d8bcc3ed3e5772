// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

/// How a command tells what it does.
struct OutputOptions: ParsableArguments {
    enum Output: String, CaseIterable, ExpressibleByArgument {
        case human
        case json
    }

    enum Progress: String, CaseIterable, ExpressibleByArgument {
        case auto
        case none
        case bar
        case json
    }

    @Flag(name: .customShort("p"), help: "Show the progress bar, also where standard error is no terminal.")
    var showsBar = false

    @Option(
        name: .customLong("progress"),
        help: ArgumentHelp(
            "How to show progress on standard error. (default: auto)",
            discussion: """
                auto: a bar on a terminal, nothing elsewhere. json: one object to a line, at most one a second; \
                percent is 100 only in the last, once all is on stable storage. Signal USR1 prints one line at \
                any time.
                """,
            valueName: "form"))
    var progress: Progress?

    @Flag(name: [.customShort("q"), .long], help: "No summary, and no progress unless --progress asks for it.")
    var quiet = false

    @Option(
        help: ArgumentHelp(
            "Form of the result, warnings and errors.",
            discussion: """
                json: the result is one object on standard output; a warning or an error is an object on standard \
                error with "type" and "message", an error also with a "code" that stays the same between versions.
                """,
            valueName: "form"))
    var output = Output.human

    func validate() throws {
        if showsBar, let progress, progress != .bar, progress != .auto {
            throw ValidationError("-p asks for a bar and --progress=\(progress.rawValue) does not: give one of them")
        }
    }

    /// Which progress to show, given whether standard error is a terminal.
    func progressMode(isTerminal: Bool) -> ProgressDisplay.Mode {
        switch progress ?? .auto {
        case .none: return .none
        case .bar: return .bar
        case .json: return .json
        case .auto:
            // As with qemu-img, quiet is stronger than -p.
            if quiet { return .none }
            return showsBar || isTerminal ? .bar : .none
        }
    }
}
