// SPDX-License-Identifier: GPL-2.0-or-later

/// Measures the job core by itself, for `tools/bench`: prints rows of a Markdown table.
///
///     core-bench FOLDER
@main
enum CoreBench {
    static func main() async throws {
        let folder = CommandLine.arguments.dropFirst().first ?? "."
        print("| what | figure | goal |")
        print("|---|---|---|")
        try await ThroughputBench(folder: folder).run()
        try await LatencyBench().run()
        for length: UInt64 in [1 << 40, 64 << 40] { try BitmapBench(length: length).run() }
    }

    static func row(_ what: String, _ figure: String, goal: String = "") {
        print("| \(what) | \(figure) | \(goal) |")
    }

    static func median(_ values: [Double]) -> Double {
        values.sorted()[values.count / 2]
    }
}

extension Duration {
    var seconds: Double { self / .seconds(1) }
}
