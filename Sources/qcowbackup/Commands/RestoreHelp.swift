// SPDX-License-Identifier: GPL-2.0-or-later

/// The part of `restore`'s help that teaches.
enum RestoreHelp {
    static let discussion = """
        TARGET gets all that BACKUP shows, what lies in its backing files included, and stands alone. What is zero takes \
        no space. TARGET appears under its name only when it is complete and on stable storage; until then it is \
        TARGET.partial. The files of the chain are only read, and TARGET can't be one of them. A chain with a file \
        missing, damaged or unfinished is refused.

        What has a manifest is proven while it is read: content that is not what was written ends the restore. The \
        summary says whether all, part or none of the chain could be proven.

        Each file of a chain is a point in time: name an earlier one to go back further. Later ones aren't needed.

        --force puts the disk back into place: the old one goes only once the new one is complete and on stable storage. \
        Images that are based on the old one are then based on the new one: remove or rebase them. A TARGET that is itself \
        based on BACKUP or its chain, such as a later backup, is refused. The new image has the old one's compat, \
        cluster_size, extended_l2, refcount_bits, lazy_refcounts and compression_type unless -o or --compression-type says \
        otherwise, and neither its dirty bitmaps nor its internal snapshots: a warning names them. Where the old one is no qcow2 image, -O says which format the new \
        one gets.

        EXAMPLES:
          qcowbackup restore monday.qcow2 disk.qcow2
              the disk as it was on Monday
          qcowbackup restore --force monday.qcow2 /vm/disk.qcow2
              back into place, while the virtual machine is off
          qcowbackup restore -O raw monday.qcow2 disk.img
              a raw disk, sparse
          qcowbackup restore -n monday.qcow2 /dev/vg0/disk
              raw, onto a block device at least as large as the disk
          qcowbackup restore --chain /mnt/usb /mnt/usb/monday.qcow2 disk.qcow2
              from backups that were moved to another folder
          qcowbackup restore --compress monday.qcow2 full.qcow2
              the chain up to Monday as one full backup

        EXIT CODES:
          0      the disk is complete and on stable storage
          1      failed: TARGET is absent or as it was; with -n, blank at its start
          2      the command line was wrong
          3      complete, but for parts of the backup that could not be read
                 (--on-source-error=ignore)
          11     an image is locked by another process
          128+N  ended by signal N: 130 after Ctrl-C. A second signal ends it at once.
        """
}
