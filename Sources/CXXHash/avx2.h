// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "CXXHash.h"

/// For processors that have AVX2.
cxxhash_digest cxxhash_xxh3_128_avx2(const void *bytes, size_t count);
