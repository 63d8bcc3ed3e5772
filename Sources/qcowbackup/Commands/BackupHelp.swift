// SPDX-License-Identifier: GPL-2.0-or-later

/// The part of `backup`'s help that teaches.
enum BackupHelp {
    static let discussion = """
        TARGET is a plain qcow2 image (or raw, with -O raw) that every QEMU opens. It appears under its name only when \
        it is complete and on stable storage; until then it is TARGET.partial. SOURCE is only read.

        OTHER COMMANDS:
          qcowbackup bitmap
              list, add, remove, clear, enable, disable and merge the persistent
              dirty bitmaps of a qcow2 image (qcowbackup help bitmap)
          qcowbackup check
              find what is wrong with the structure of a qcow2 image, and repair it

        EXAMPLES:
          qcowbackup disk.qcow2 backup.qcow2
              the whole disk, with all that its backing files hold
          qcowbackup --compress disk.qcow2 backup.qcow2
              the same, compressed, on all processors
          qcowbackup --sync=top overlay.qcow2 top.qcow2
              only what changed since the overlay was made
          qcowbackup --compression-type=zstd disk.qcow2 backup.qcow2
              a smaller backup, for QEMU 5.1 and later
          qcowbackup -O raw -n disk.qcow2 /dev/vg0/restored
              onto a block device
          qcowbackup --output=json --progress=json disk.qcow2 backup.qcow2
              for scripts

        WHILE IT RUNS:
          signal USR1 prints how far it is; signal USR2, or Enter where the bar is shown, makes it stand still, and go \
        on the next time.

        EXIT CODES:
          0      the backup is complete and on stable storage
          1      failed: TARGET is absent or as it was; with -n, blank at its start
          2      the command line was wrong
          3      complete, but for parts of SOURCE that could not be read (--on-source-error=ignore)
          11     an image is locked by another process
          128+N  ended by signal N: 130 after Ctrl-C. A second signal ends it at once.
        """
}
