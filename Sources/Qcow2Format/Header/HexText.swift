// SPDX-License-Identifier: GPL-2.0-or-later

/// A number as it is written where its bits matter.
func hex(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16) }
