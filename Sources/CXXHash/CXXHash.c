// SPDX-License-Identifier: GPL-2.0-or-later
#include "CXXHash.h"
#include "avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

cxxhash_digest cxxhash_xxh3_128(const void *bytes, size_t count) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        return cxxhash_xxh3_128_avx2(bytes, count);
    }
#endif
    XXH128_hash_t hash = XXH3_128bits(bytes, count);
    return (cxxhash_digest){hash.high64, hash.low64};
}

// A stream is the library's state under another name, so that its header stays in here.

cxxhash_stream *cxxhash_stream_create(void) {
    XXH3_state_t *state = XXH3_createState();
    if (state != NULL) {
        XXH3_128bits_reset(state);
    }
    return (cxxhash_stream *)state;
}

void cxxhash_stream_add(cxxhash_stream *stream, const void *bytes, size_t count) {
    XXH3_128bits_update((XXH3_state_t *)stream, bytes, count);
}

cxxhash_digest cxxhash_stream_digest(const cxxhash_stream *stream) {
    XXH128_hash_t hash = XXH3_128bits_digest((const XXH3_state_t *)stream);
    return (cxxhash_digest){hash.high64, hash.low64};
}

void cxxhash_stream_free(cxxhash_stream *stream) {
    XXH3_freeState((XXH3_state_t *)stream);
}
