// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <stddef.h>
#include <stdint.h>

/// A digest of 128 bits.
typedef struct {
    uint64_t high;
    uint64_t low;
} cxxhash_digest;

/// XXH3 of 128 bits, without a seed, by the widest registers that the processor has.
cxxhash_digest cxxhash_xxh3_128(const void *_Nullable bytes, size_t count);

/// The same of bytes that come in pieces. NULL for want of memory.
typedef struct cxxhash_stream cxxhash_stream;
cxxhash_stream *_Nullable cxxhash_stream_create(void);
void cxxhash_stream_add(cxxhash_stream *_Nonnull stream, const void *_Nullable bytes, size_t count);
cxxhash_digest cxxhash_stream_digest(const cxxhash_stream *_Nonnull stream);
void cxxhash_stream_free(cxxhash_stream *_Nonnull stream);
