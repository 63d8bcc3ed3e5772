// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService

/// The value of one `-o`: options separated by commas. A doubled comma stands for one inside a value, as with qemu-img.
struct TargetOptionList: ExpressibleByArgument, Equatable {
    /// In order, each as it was given: `cluster_size=64k`.
    let options: [String]

    /// `nil` where an option is empty.
    init?(argument: String) {
        var options = [""]
        var characters = argument.unicodeScalars[...]
        while let character = characters.popFirst() {
            if character != "," {
                options[options.count - 1].unicodeScalars.append(character)
            } else if characters.first == "," {
                characters.removeFirst()
                options[options.count - 1] += ","
            } else {
                options.append("")
            }
        }
        guard options.allSatisfy({ !$0.isEmpty && !$0.hasPrefix("=") }) else { return nil }
        self.options = options
    }

    static var defaultCompletionKind: CompletionKind {
        .list(["help"] + TargetOption.all.map { $0.name + "=" })
    }

    /// Whether a command line asks which options there are: `-o help` or `-o ?`, whatever else it says.
    ///
    /// - Parameter arguments: without the program's name.
    static func isAskedForHelp(in arguments: [String]) -> Bool {
        let options = arguments.prefix { $0 != "--" }
        let lists = zip(options, options.dropFirst()).compactMap { $0 == "-o" ? $1 : nil }
        let joined = options.filter { $0 == "-ohelp" || $0 == "-o?" }.map { String($0.dropFirst(2)) }
        return (lists + joined).contains { list in
            TargetOptionList(argument: list)?.options.contains { ["help", "?"].contains($0) } ?? false
        }
    }
}
