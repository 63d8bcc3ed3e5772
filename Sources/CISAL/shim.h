// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <isa-l/igzip_lib.h>

// The library's sizes are expressions that Swift does not import.
enum {
    isal_level1_buffer_length = ISAL_DEF_LVL1_DEFAULT,
    isal_level2_buffer_length = ISAL_DEF_LVL2_DEFAULT,
    isal_level3_buffer_length = ISAL_DEF_LVL3_DEFAULT,
};
