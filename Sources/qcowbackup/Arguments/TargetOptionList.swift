// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

/// The value of one `-o`: options separated by commas. A doubled comma stands for one inside a value, as with qemu-img.
struct TargetOptionList: ExpressibleByArgument, Equatable {
    /// In order, each as it was given: `cluster_size=64k`.
    let options: [String]

    /// Names offered by shell completion.
    static let names = [
        "cluster_size", "compat", "compression_type", "data_file", "data_file_raw", "extended_l2", "lazy_refcounts",
        "refcount_bits",
    ]

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
        .list(names.map { $0 + "=" })
    }
}
