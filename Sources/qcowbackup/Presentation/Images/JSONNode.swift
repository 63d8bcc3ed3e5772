// SPDX-License-Identifier: GPL-2.0-or-later

/// A JSON value whose members keep their order, printed in the layout of qemu-img: scripts read that line by line.
indirect enum JSONNode {
    case text(String)
    case number(UInt64)
    case flag(Bool)
    case list([JSONNode])
    case object([(key: String, value: JSONNode)])

    /// Several lines, four spaces to a level, without a line break at the end.
    func lines(indentation: String = "") -> String {
        let inner = indentation + "    "
        switch self {
        case .text(let text): return Self.quoted(text)
        case .number(let number): return "\(number)"
        case .flag(let flag): return flag ? "true" : "false"
        case .list(let elements):
            let items = elements.map { inner + $0.lines(indentation: inner) }
            return "[\n" + items.joined(separator: ",\n") + (items.isEmpty ? "" : "\n") + indentation + "]"
        case .object(let members):
            let items = members.map { "\(inner)\(Self.quoted($0.key)): \($0.value.lines(indentation: inner))" }
            return "{\n" + items.joined(separator: ",\n") + (items.isEmpty ? "" : "\n") + indentation + "}"
        }
    }

    /// A JSON string; all that isn't ASCII, and control characters, are escaped.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case " "..."~": result.unicodeScalars.append(scalar)
            default:
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return result + "\""
    }
}
