# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases that tools/fixtures makes."""
