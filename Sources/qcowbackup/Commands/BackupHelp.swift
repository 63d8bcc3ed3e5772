// SPDX-License-Identifier: GPL-2.0-or-later

/// The part of `backup`'s help that teaches.
enum BackupHelp {
    static let discussion = """
        TARGET is a plain qcow2 image (or raw, with -O raw) that every QEMU opens. It appears under its name only when \
        it is complete and on stable storage; until then it is TARGET.partial. SOURCE is only read, but for its bitmap, \
        which changes once TARGET is complete.

        OTHER COMMANDS:
          qcowbackup restore BACKUP TARGET
              write a backup, with all that it is based on, to a file or a block
              device (qcowbackup help restore)
          qcowbackup verify BACKUP...
              prove that backups, with all that they are based on, are what was
              written (qcowbackup help verify)
          qcowbackup list DIR
              list the backups in a folder as chains, and what is broken
          qcowbackup bitmap
              list, add, remove, clear, enable, disable and merge the persistent
              dirty bitmaps of a qcow2 image (qcowbackup help bitmap)
          qcowbackup info
              tell what an image is: size, backing file, features, bitmaps, snapshots
          qcowbackup map
              show which layer of a disk's chain holds what, as a list or a picture
          qcowbackup compare
              compare the content of two disks
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
          qcowbackup --bitmap b0 --create-bitmap disk.qcow2 full.qcow2
              the whole disk; from now on bitmap b0 records what changes
          qcowbackup --sync=incremental --bitmap b0 -b full.qcow2 disk.qcow2 inc1.qcow2
              only what changed since, as a layer over full.qcow2; the next goes
              on with -b inc1.qcow2. Each layer shows the disk as it was then.
          qcowbackup --sync=bitmap --bitmap b0 --bitmap-mode=never -b full.qcow2 disk.qcow2 diff.qcow2
              the same, and b0 goes on counting from full.qcow2
          qcowbackup --output=json --progress=json disk.qcow2 backup.qcow2
              for scripts

        INCREMENTS:
          The bitmap must count from PARENT: what it doesn't mark is taken from there. Another \
        PARENT is refused: backups made by qcowbackup record which one they are, and of others a sample is compared with \
        SOURCE. A PARENT in TARGET's folder or below is recorded relative to TARGET, so that the chain can be moved as a \
        whole; another one by its absolute name, with no symbolic link on the way; only a device by the name given \
        (--backing-name). The disk may have grown or shrunk since.
          Whatever ends a run before TARGET is complete leaves the bitmap as it was. If then the bitmap can't be updated, \
        the message says so: TARGET is a good PARENT for the next increment even so.
          A disk in use by a virtual machine is refused. A bitmap that missed changes, as after a crash, is refused too: \
        --fallback=full makes a full backup then, and where PARENT is missing, broken or another one.

        WHILE IT RUNS:
          signal USR1 prints how far it is; signal USR2, or Enter at a terminal, makes it stand still, and go on the \
        next time.

        EXIT CODES:
          0      the backup is complete and on stable storage
          1      failed: TARGET is absent or as it was; with -n, blank at its start.
                 Or, as the message then says, TARGET is complete while the bitmap
                 could not be updated (in JSON, a summary with "bitmap-updated": false
                 or "unknown" comes before the error)
          2      the command line was wrong
          3      complete, but for parts of SOURCE that could not be read (--on-source-error=ignore)
          4      with --strict: complete, but a full backup because of --fallback=full
          5      with --strict: complete, but nothing had changed: TARGET is an empty
                 layer
          11     an image is locked by another process
          128+N  ended by signal N: 130 after Ctrl-C. A second signal ends it at once.
        """
}
