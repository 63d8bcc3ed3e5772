// SPDX-License-Identifier: GPL-2.0-or-later
#include "avx2.h"

#if defined(__x86_64__)
// The library picks its registers when it is compiled. Debian's is compiled for every processor of the architecture, and
// so runs at a fifth of the speed (8 and 37 GB/s).
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define XXH_INLINE_ALL
#define XXH_VECTOR 2 /* XXH_AVX2 */
#include <xxhash.h>

cxxhash_digest cxxhash_xxh3_128_avx2(const void *bytes, size_t count) {
    XXH128_hash_t hash = XXH3_128bits(bytes, count);
    return (cxxhash_digest){hash.high64, hash.low64};
}
#pragma clang attribute pop
#endif
