// SPDX-License-Identifier: GPL-2.0-or-later

public enum ProgramVersion {
    public static let current = "0.1.0"
}
