// SPDX-License-Identifier: GPL-2.0-or-later
#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

const int32_t clinux_O_DIRECT = O_DIRECT;
const int32_t clinux_O_CLOEXEC = O_CLOEXEC;
const int32_t clinux_FALLOC_FL_KEEP_SIZE = FALLOC_FL_KEEP_SIZE;
const int32_t clinux_FALLOC_FL_PUNCH_HOLE = FALLOC_FL_PUNCH_HOLE;
const int32_t clinux_SEEK_DATA = SEEK_DATA;
const int32_t clinux_SEEK_HOLE = SEEK_HOLE;

int64_t clinux_copy_file_range(int source, int64_t source_offset, int target, int64_t target_offset, size_t length) {
    off64_t from = source_offset, to = target_offset;
    return copy_file_range(source, &from, target, &to, length, 0);
}

int clinux_share_range(int source, int64_t source_offset, int target, int64_t target_offset, size_t length) {
    struct file_clone_range range = {
        .src_fd = source, .src_offset = (uint64_t)source_offset, .src_length = length,
        .dest_offset = (uint64_t)target_offset,
    };
    return ioctl(target, FICLONERANGE, &range);
}

int clinux_cached_pages(int descriptor, uint64_t offset, uint64_t length, uint64_t *pages) {
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
    uint64_t range[2] = {offset, length};
    uint64_t counts[5] = {0};
    int result = (int)syscall(SYS_cachestat, descriptor, range, counts, 0);
    *pages = counts[0];
    return result;
}

int clinux_resident_pages(int descriptor, uint64_t offset, uint64_t length, uint8_t *pages) {
    void *mapping = mmap(NULL, length, PROT_NONE, MAP_SHARED, descriptor, (off_t)offset);
    if (mapping == MAP_FAILED) {
        return -1;
    }
    int result = mincore(mapping, length, pages);
    munmap(mapping, length);
    return result;
}

int clinux_fallocate(int descriptor, int mode, int64_t offset, int64_t length) {
    return fallocate(descriptor, mode, offset, length);
}

int clinux_rename_noreplace(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

static int lock_byte(int descriptor, int command, int64_t byte, int16_t type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(descriptor, command, &lock);
}

static int probe_byte(int descriptor, int command, int64_t byte, int16_t *type) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int result = fcntl(descriptor, command, &lock);
    *type = lock.l_type;
    return result;
}

int clinux_lock_byte(int descriptor, int64_t byte, int16_t type) {
    return lock_byte(descriptor, F_OFD_SETLK, byte, type);
}

int clinux_probe_byte(int descriptor, int64_t byte, int16_t *type) {
    return probe_byte(descriptor, F_OFD_GETLK, byte, type);
}

int clinux_lock_byte_classic(int descriptor, int64_t byte, int16_t type) {
    return lock_byte(descriptor, F_SETLK, byte, type);
}

int clinux_probe_byte_classic(int descriptor, int64_t byte, int16_t *type) {
    return probe_byte(descriptor, F_GETLK, byte, type);
}

int clinux_block_device_size(int descriptor, uint64_t *bytes) {
    return ioctl(descriptor, BLKGETSIZE64, bytes);
}

int clinux_block_device_zero_out(int descriptor, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return ioctl(descriptor, BLKZEROOUT, range);
}

int clinux_direct_io_alignment(int descriptor, uint32_t *memory, uint32_t *offset) {
#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x00002000U
#endif
    // Debian 12's headers end before the two fields that STATX_DIOALIGN fills; they follow stx_mnt_id.
    union {
        struct statx status;
        struct {
            uint8_t before[0x98];
            uint32_t memory_alignment;
            uint32_t offset_alignment;
        } direct;
        uint8_t room[256];
    } answer = {0};
    int result = (int)syscall(SYS_statx, descriptor, "", AT_EMPTY_PATH, STATX_DIOALIGN, &answer);
    if (result == 0) {
        *memory = answer.direct.memory_alignment;
        *offset = answer.direct.offset_alignment;
    }
    return result;
}

int clinux_filesystem_type(int descriptor, uint64_t *type) {
    struct statfs status;
    int result = fstatfs(descriptor, &status);
    if (result == 0) {
        *type = (uint64_t)(unsigned long)status.f_type;
    }
    return result;
}

int clinux_file_attributes(const char *path, uint32_t *attributes) {
#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x00002000
#endif
    struct statx status = {0};
    int result = (int)syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status);
    *attributes = 0;
    if (result == 0) {
        uint64_t known = status.stx_attributes & status.stx_attributes_mask;
        *attributes |= known & STATX_ATTR_IMMUTABLE ? CLINUX_ATTRIBUTE_IMMUTABLE : 0;
        *attributes |= known & STATX_ATTR_APPEND ? CLINUX_ATTRIBUTE_APPEND_ONLY : 0;
        *attributes |= known & STATX_ATTR_MOUNT_ROOT ? CLINUX_ATTRIBUTE_MOUNT_POINT : 0;
    }
    return result;
}

int64_t clinux_list_attributes(int descriptor, char *names, size_t size) {
    return flistxattr(descriptor, names, size);
}

int64_t clinux_get_attribute(int descriptor, const char *name, void *value, size_t size) {
    return fgetxattr(descriptor, name, value, size);
}

int clinux_set_attribute(int descriptor, const char *name, const void *value, size_t size) {
    return fsetxattr(descriptor, name, value, size, 0);
}

int clinux_remove_attribute(int descriptor, const char *name) {
    return fremovexattr(descriptor, name);
}

int clinux_sync_filesystem(int descriptor) {
    return syncfs(descriptor);
}

int clinux_name_thread(const char *name) {
    return pthread_setname_np(pthread_self(), name);
}

void clinux_share_heap(void) {
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}
