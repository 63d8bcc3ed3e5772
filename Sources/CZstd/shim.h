// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <zstd.h>
#include <zstd_errors.h>
