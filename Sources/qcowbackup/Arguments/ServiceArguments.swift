// SPDX-License-Identifier: GPL-2.0-or-later

public import ArgumentParser
public import BackupService
public import Qcow2Format

// Types of the service that are option values as they are: their raw value is what the user writes.

extension ImageFormat: ExpressibleByArgument {}

extension BackupRequest.CopyRange: ExpressibleByArgument {}

extension BackupRequest.ErrorHandling: ExpressibleByArgument {}

extension BackupRequest.BitmapMode: ExpressibleByArgument {}

extension BackupRequest.BackingName: ExpressibleByArgument {}

extension RepairScope: ExpressibleByArgument {}
