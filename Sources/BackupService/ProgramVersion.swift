// SPDX-License-Identifier: GPL-2.0-or-later

package enum ProgramVersion {
    package static let current = "0.1.0"
}
