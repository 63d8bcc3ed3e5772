// SPDX-License-Identifier: GPL-2.0-or-later
//
// What Linux offers and Swift's Glibc module does not import: macros with casts, variadic calls, and calls hidden
// behind _GNU_SOURCE. Wrappers only; no logic.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const int32_t clinux_O_DIRECT;
extern const int32_t clinux_O_CLOEXEC;
extern const int32_t clinux_FALLOC_FL_KEEP_SIZE;
extern const int32_t clinux_FALLOC_FL_PUNCH_HOLE;
extern const int32_t clinux_SEEK_DATA;
extern const int32_t clinux_SEEK_HOLE;

int64_t clinux_copy_file_range(int source, int64_t source_offset, int target, int64_t target_offset, size_t length);
// FICLONERANGE: the target's range shares the blocks of the source's.
int clinux_share_range(int source, int64_t source_offset, int target, int64_t target_offset, size_t length);
// cachestat: how many pages of a range are in the page cache. Since Linux 6.5.
int clinux_cached_pages(int descriptor, uint64_t offset, uint64_t length, uint64_t *pages);
// mincore on a mapping of the range: bit 0 of each byte says whether that page is in the page cache.
int clinux_resident_pages(int descriptor, uint64_t offset, uint64_t length, uint8_t *pages);
int clinux_fallocate(int descriptor, int mode, int64_t offset, int64_t length);

// rename without replacing: fails with EEXIST where the new name exists.
int clinux_rename_noreplace(const char *from, const char *to);

// fcntl's open-file-description locks on one byte; type is F_RDLCK, F_WRLCK or F_UNLCK.
int clinux_lock_byte(int descriptor, int64_t byte, int16_t type);
// As fcntl(F_OFD_GETLK): on success *type is F_UNLCK where the lock could be had.
int clinux_probe_byte(int descriptor, int64_t byte, int16_t *type);
// The same with classic POSIX locks, which belong to the process.
int clinux_lock_byte_classic(int descriptor, int64_t byte, int16_t type);
int clinux_probe_byte_classic(int descriptor, int64_t byte, int16_t *type);

int clinux_block_device_size(int descriptor, uint64_t *bytes);
int clinux_block_device_zero_out(int descriptor, uint64_t offset, uint64_t length);
// Alignment that direct I/O asks of memory and of file offsets; 0 where the kernel can't tell or refuses direct I/O.
int clinux_direct_io_alignment(int descriptor, uint32_t *memory, uint32_t *offset);
// The file system's magic number (statfs f_type).
int clinux_filesystem_type(int descriptor, uint64_t *type);

// Has all threads take their memory from one heap.
void clinux_share_heap(void);

// What a path leads to, as bits of CLINUX_ATTRIBUTE_...; those that the file system or the kernel doesn't tell are 0.
enum {
    CLINUX_ATTRIBUTE_IMMUTABLE = 1,
    CLINUX_ATTRIBUTE_APPEND_ONLY = 2,
    // Something is mounted there.
    CLINUX_ATTRIBUTE_MOUNT_POINT = 4,
};
int clinux_file_attributes(const char *path, uint32_t *attributes);

// Extended attributes, by name; as listxattr, getxattr and so on for descriptors.
int64_t clinux_list_attributes(int descriptor, char *names, size_t size);
int64_t clinux_get_attribute(int descriptor, const char *name, void *value, size_t size);
int clinux_set_attribute(int descriptor, const char *name, const void *value, size_t size);
int clinux_remove_attribute(int descriptor, const char *name);

// Brings all that was written to a file system to its disk.
int clinux_sync_filesystem(int descriptor);

// Names the calling thread, for debuggers and process listings.
int clinux_name_thread(const char *name);
