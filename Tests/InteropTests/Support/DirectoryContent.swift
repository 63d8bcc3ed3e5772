// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport

extension TemporaryDirectory {
    /// Names and bytes of all files in the directory and below.
    func content() throws -> [String: Data] {
        var content: [String: Data] = [:]
        for name in try FileManager.default.subpathsOfDirectory(atPath: path.string) {
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: file(name).string, isDirectory: &isDirectory)
            if !isDirectory.boolValue {
                content[name] = try Data(contentsOf: URL(filePath: file(name).string))
            }
        }
        return content
    }
}
