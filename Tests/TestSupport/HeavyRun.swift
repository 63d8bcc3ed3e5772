// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation

/// Whether tests take the time that a thorough run needs: `QCOWBACKUP_HEAVY=1`.
package let isHeavyRun = ProcessInfo.processInfo.environment["QCOWBACKUP_HEAVY"] == "1"
