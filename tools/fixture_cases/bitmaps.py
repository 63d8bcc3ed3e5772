# SPDX-License-Identifier: GPL-2.0-or-later
"""Images whose disk is fine and whose persistent bitmaps are damaged. QEMU opens hardly any of them.

A backup of the disk must work; whatever asks for the bitmaps is told what is wrong. The content facts are those of a copy
without bitmaps.
"""

from functools import partial

from .case import Case, Image, case
from .qcow2 import BITMAPS, END_OF_EXTENSIONS

CASES: list[Case] = []

CLUSTER = 4096
FAR = 1 << 40
PAST_END = "past the end of the file"

# Data of the extension, from its start.
COUNT, RESERVED, DIRECTORY_SIZE, DIRECTORY_OFFSET = (8, 4), (12, 4), (16, 8), (24, 8)
# A directory entry.
TABLE_OFFSET, TABLE_SIZE, FLAGS, TYPE, GRANULARITY = (0, 8), (8, 4), (12, 4), (16, 1), (17, 1)
NAME_SIZE, EXTRA_SIZE = (18, 2), (20, 4)


def damaged(*words: str, **properties):
    """Adds a case; what is said of its bitmaps contains the words."""
    return case(CASES, bitmaps=words, **properties)


def with_bitmap(image: Image) -> None:
    """The image that the cases damage: one bitmap, whose bits fill a cluster of their own."""
    image.create("256K", cluster_size=CLUSTER)
    image.shell(f"qemu-img bitmap --add -g 512 -f qcow2 {image.file} nightly")
    image.io("write -q -P 0x11 16K 20K")
    # The directory is in the last cluster, which is to be whole.
    image.truncate((image.size + CLUSTER - 1) // CLUSTER * CLUSTER)


def set_in_extension(image: Image, field: tuple[int, int], value: int, what: str) -> None:
    with_bitmap(image)
    offset, width = field
    image.patch_integer(image.layout().extension(BITMAPS) + offset, value, what, width)


def set_in_entry(image: Image, field: tuple[int, int], value: int, what: str) -> None:
    with_bitmap(image)
    offset, width = field
    image.patch_integer(image.layout().bitmap_directory + offset, value, what, width)


def set_in_table(image: Image, value: int, what: str) -> None:
    with_bitmap(image)
    image.patch_integer(image.layout().bitmap_table, value, what)


EXTENSION_CASES = [
    # name, description, field, value, words
    ("count-0", "The extension counts no bitmaps.", COUNT, 0, ["counts no bitmaps"]),
    ("count-2", "Two bitmaps in a directory for one.", COUNT, 2, ["too small"]),
    ("count-65536", "One bitmap too many.", COUNT, 65536, ["too many"]),
    ("count-2-31", "2^31 bitmaps.", COUNT, 1 << 31, ["too many"]),
    ("reserved", "The reserved field of the extension is set.", RESERVED, 1, ["reserved"]),
    ("directory-size-0", "A directory of no bytes.", DIRECTORY_SIZE, 0, ["too small"]),
    ("directory-size-long", "The directory is longer than its entry.", DIRECTORY_SIZE, 40, ["the header says"]),
    ("directory-size-64M", "A directory of 64 MiB.", DIRECTORY_SIZE, 64 << 20, ["too large"]),
    ("directory-size-2-63", "A directory of 8 EiB.", DIRECTORY_SIZE, 1 << 63, ["too large"]),
    ("directory-past-end", "The directory lies past the end of the file.", DIRECTORY_OFFSET, FAR, [PAST_END]),
    ("directory-unaligned", "The directory does not start at a cluster.", DIRECTORY_OFFSET, CLUSTER + 8,
     ["not aligned"]),
    ("directory-in-header", "The directory lies on the header.", DIRECTORY_OFFSET, 0, ["overlaps"]),
    ("directory-overflow", "The end of the directory is no number.", DIRECTORY_OFFSET, (1 << 64) - CLUSTER,
     ["bitmap directory"]),
]

ENTRY_CASES = [
    ("type-0", "A bitmap of a type that does not exist.", TYPE, 0, ["nightly", "type"]),
    ("type-2", "A bitmap of a type that is not known.", TYPE, 2, ["nightly", "type"]),
    ("flags-reserved", "A reserved flag is set.", FLAGS, 1 << 3, ["nightly", "reserved"]),
    ("granularity-8", "A granularity of 256 bytes.", GRANULARITY, 8, ["nightly", "granularity"]),
    ("granularity-32", "A granularity of 4 GiB.", GRANULARITY, 32, ["nightly", "granularity"]),
    ("granularity-255", "A granularity that no number holds.", GRANULARITY, 255, ["nightly", "granularity"]),
    ("name-empty", "A bitmap without a name.", NAME_SIZE, 0, ["no name"]),
    ("name-past-end", "A name that runs past the directory.", NAME_SIZE, 900, ["past its end"]),
    ("extra-data-4G", "Extra data of 4 GiB.", EXTRA_SIZE, (1 << 32) - 1, ["past its end"]),
    ("table-empty", "A table of no entries.", TABLE_SIZE, 0, ["nightly", "empty"]),
    ("table-2-27", "A table of 2^27 + 1 entries.", TABLE_SIZE, (1 << 27) + 1, ["nightly", "too large"]),
    ("table-2-32", "A table of 2^32 - 1 entries.", TABLE_SIZE, (1 << 32) - 1, ["nightly", "too large"]),
    ("table-512M", "Bits of 512 MiB and a cluster.", TABLE_SIZE, (512 << 20) // CLUSTER + 1, ["nightly", "too large"]),
    ("table-2-entries", "A table of two entries where the disk needs one.", TABLE_SIZE, 2, ["nightly", "needs 1"]),
    ("table-past-end", "The table lies past the end of the file.", TABLE_OFFSET, FAR, ["bitmap table", PAST_END]),
    ("table-unaligned", "The table does not start at a cluster.", TABLE_OFFSET, CLUSTER + 512,
     ["bitmap table", "not aligned"]),
    ("table-in-header", "The table lies on the header.", TABLE_OFFSET, 0, ["bitmap table", "overlaps"]),
]

TABLE_CASES = [
    ("bits-reserved", "A table entry has a reserved bit set.", 5 * CLUSTER | 1 << 1, ["nightly", "reserved"]),
    ("bits-high-reserved", "A table entry has its highest bit set.", 5 * CLUSTER | 1 << 63, ["nightly", "reserved"]),
    ("bits-ones-and-offset", "A table entry says both where the bits are and that they are ones.", 5 * CLUSTER | 1,
     ["nightly", "reserved"]),
    ("bits-unaligned", "The bits do not start at a cluster.", 5 * CLUSTER + 512, ["nightly", "not aligned"]),
    ("bits-past-end", "The bits lie past the end of the file.", FAR, ["nightly", PAST_END]),
]

for name, description, field, value, words in EXTENSION_CASES:
    CASES.append(Case(f"bad-bitmap-{name}", description,
                      partial(set_in_extension, field=field, value=value, what="bitmaps extension"),
                      bitmaps=tuple(words)))
for name, description, field, value, words in ENTRY_CASES:
    CASES.append(Case(f"bad-bitmap-{name}", description,
                      partial(set_in_entry, field=field, value=value, what="bitmap directory entry"),
                      bitmaps=tuple(words)))
for name, description, value, words in TABLE_CASES:
    CASES.append(Case(f"bad-bitmap-{name}", description,
                      partial(set_in_table, value=value, what="bitmap table entry"),
                      bitmaps=tuple(words), bitmaps_exit_code=0))


@damaged("two of this name")
def bad_bitmap_same_name(image: Image) -> None:
    """Two bitmaps of one name."""
    with_bitmap(image)
    image.shell(f"qemu-img bitmap --add -g 512 -f qcow2 {image.file} another")
    directory = image.layout().bitmap_directory
    # Both entries have 32 bytes.
    image.patch(directory + 32 + 24, b"nightly", "name of the second bitmap")


@damaged("too long")
def bad_bitmap_name_1024(image: Image) -> None:
    """A name of 1024 bytes, one more than is allowed."""
    with_bitmap(image)
    layout = image.layout()
    image.patch_integer(layout.extension(BITMAPS) + DIRECTORY_SIZE[0], 24 + 1024, "directory size")
    image.patch_integer(layout.bitmap_directory + NAME_SIZE[0], 1024, "name size", width=2)
    image.shell(f"head -c 1024 /dev/zero | tr '\\0' x"
                f" | dd of={image.file} bs=1 seek={layout.bitmap_directory + 24} conv=notrunc status=none")


@damaged("instead of 24")
def bad_bitmap_extension_16_bytes(image: Image) -> None:
    """The bitmaps extension is too short."""
    with_bitmap(image)
    extension = image.layout().extension(BITMAPS)
    image.patch_integer(extension + 4, 16, "length of the bitmaps extension", width=4)
    image.patch(extension + 24, bytes(8), "end of the extensions")


@damaged("2 times")
def bad_bitmap_extension_twice(image: Image) -> None:
    """Two bitmaps extensions."""
    with_bitmap(image)
    layout = image.layout()
    extension = layout.extension(BITMAPS)
    image.patch(layout.extension(END_OF_EXTENSIONS), layout.content[extension:extension + 32], "the extension again")


@damaged("nightly", "past the end of the file", bitmaps_exit_code=0)
def bad_bitmap_truncated(image: Image) -> None:
    """The file ends where the bits of the bitmap begin."""
    with_bitmap(image)
    # The last cluster of the file: the bits go where nothing else is.
    bits = (image.size + CLUSTER - 1) // CLUSTER * CLUSTER
    image.patch_integer(image.layout().bitmap_table, bits, "bitmap table entry")
    image.truncate(bits + 10)
