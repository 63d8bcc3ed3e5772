// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The library's sizes are expressions that Swift does not import.
enum {
    isal_level1_buffer_length = ISAL_DEF_LVL1_DEFAULT,
    isal_level2_buffer_length = ISAL_DEF_LVL2_DEFAULT,
    isal_level3_buffer_length = ISAL_DEF_LVL3_DEFAULT,
};

// Swift sees a stream as so many bytes. It would import the hash tables inside as tuples of thousands of elements, and
// make 200 KB of code that copies them one by one.
enum { isal_stream_length = sizeof(struct isal_zstream) };

/// Makes a stream of `stream`, `isal_stream_length` bytes, that compresses with distances below 2 to the power of
/// `window_bits`.
static inline void isal_stream_init(
    void *stream, uint32_t level, uint16_t window_bits, void *level_buffer, uint32_t level_buffer_length)
{
    struct isal_zstream *z = stream;
    isal_deflate_init(z);
    z->level = level;
    z->level_buf = level_buffer;
    z->level_buf_size = level_buffer_length;
    z->hist_bits = window_bits;
}

/// Raw deflate of all of `input`, in one piece. Returns the length of the output, and -1 where there isn't room for it.
static inline ptrdiff_t isal_stream_compress(
    void *stream, const void *input, uint32_t input_length, void *output, uint32_t output_length)
{
    struct isal_zstream *z = stream;
    isal_deflate_reset(z);
    // The library's structure lacks `const`; it only reads the input.
    z->next_in = (uint8_t *)input;
    z->avail_in = input_length;
    z->next_out = output;
    z->avail_out = output_length;
    z->end_of_stream = 1;
    z->flush = NO_FLUSH;
    if (isal_deflate(z) != COMP_OK || z->internal_state.state != ZSTATE_END) {
        return -1;
    }
    return z->total_out;
}
