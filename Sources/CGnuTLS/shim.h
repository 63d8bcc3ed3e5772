// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <gnutls/gnutls.h>
#include <gnutls/crypto.h>
