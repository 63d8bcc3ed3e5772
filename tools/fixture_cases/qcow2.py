# SPDX-License-Identifier: GPL-2.0-or-later
"""As much of the qcow2 format as it takes to find and to damage its structures."""

import zlib

# Header fields: offset and width in bytes.
FIELDS = {
    "magic": (0, 4),
    "version": (4, 4),
    "backing_file_offset": (8, 8),
    "backing_file_size": (16, 4),
    "cluster_bits": (20, 4),
    "size": (24, 8),
    "crypt_method": (32, 4),
    "l1_size": (36, 4),
    "l1_table_offset": (40, 8),
    "refcount_table_offset": (48, 8),
    "refcount_table_clusters": (56, 4),
    "nb_snapshots": (60, 4),
    "snapshots_offset": (64, 8),
    "incompatible_features": (72, 8),
    "compatible_features": (80, 8),
    "autoclear_features": (88, 8),
    "refcount_order": (96, 4),
    "header_length": (100, 4),
    "compression_type": (104, 1),
}

# Incompatible features.
DIRTY = 1 << 0
CORRUPT = 1 << 1
EXTERNAL_DATA_FILE = 1 << 2
COMPRESSION_TYPE = 1 << 3
EXTENDED_L2 = 1 << 4

# Bits of L1 and L2 entries.
COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = 1 << 0
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00

# Types of header extensions.
END_OF_EXTENSIONS = 0
BACKING_FORMAT = 0xE2792ACA
FEATURE_NAME_TABLE = 0x6803F857
BITMAPS = 0x23852875


class Layout:
    """Where the structures of an image lie, as far as its header and tables say so."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def integer(self, offset: int, width: int = 8) -> int:
        return int.from_bytes(self.content[offset:offset + width], "big")

    def field(self, name: str) -> int:
        return self.integer(*FIELDS[name])

    @property
    def cluster_size(self) -> int:
        return 1 << self.field("cluster_bits")

    @property
    def refcount_block(self) -> int:
        """Offset of the first refcount block."""
        return self.integer(self.field("refcount_table_offset"))

    def l1_entry(self, index: int) -> int:
        """Offset of an L1 entry."""
        return self.field("l1_table_offset") + 8 * index

    def l2_table(self, index: int) -> int:
        """Offset of the L2 table of an L1 entry."""
        return self.integer(self.l1_entry(index)) & OFFSET_MASK

    def l2_entry(self, cluster: int) -> int:
        """Offset of the L2 entry of a guest cluster."""
        width = 16 if self.field("incompatible_features") & EXTENDED_L2 else 8
        table, index = divmod(cluster, self.cluster_size // width)
        return self.l2_table(table) + width * index

    def host_offset(self, cluster: int) -> int:
        """Host offset of a guest cluster, compressed or not."""
        entry = self.integer(self.l2_entry(cluster))
        if entry & COMPRESSED:
            return entry & ((1 << self.compressed_offset_bits) - 1)
        return entry & OFFSET_MASK

    @property
    def compressed_offset_bits(self) -> int:
        return 62 - (self.field("cluster_bits") - 8)

    def compressed_descriptor(self, offset: int, additional_sectors: int) -> int:
        """An L2 entry for compressed data."""
        return COMPRESSED | additional_sectors << self.compressed_offset_bits | offset

    def extensions(self) -> list[int]:
        """Offsets of the header extensions, the last one their end."""
        found = [self.field("header_length")]
        while self.integer(found[-1], 4) != END_OF_EXTENSIONS:
            found.append(found[-1] + 8 + (self.integer(found[-1] + 4, 4) + 7) // 8 * 8)
        return found

    def extension(self, wanted: int) -> int:
        """Offset of the header extension of this type."""
        for offset in self.extensions():
            if self.integer(offset, 4) == wanted:
                return offset
        raise LookupError(f"no header extension {wanted:#x}")

    @property
    def bitmap_directory(self) -> int:
        """Offset of the bitmap directory, and of its first entry."""
        return self.integer(self.extension(BITMAPS) + 8 + 16)

    @property
    def bitmap_table(self) -> int:
        """Offset of the first bitmap's table."""
        return self.integer(self.bitmap_directory)

    def snapshots(self) -> list[int]:
        """Offsets of the entries of the snapshot table."""
        found = []
        offset = self.field("snapshots_offset")
        for _ in range(self.field("nb_snapshots")):
            found.append(offset)
            names = self.integer(offset + 12, 2) + self.integer(offset + 14, 2)
            offset += (40 + self.integer(offset + 36, 4) + names + 7) // 8 * 8
        return found


def header_extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + bytes(-len(data) % 8)


def feature_name(kind: int, bit: int, name: str) -> bytes:
    """An entry of the feature name table; kind 0 is incompatible, 1 compatible, 2 autoclear."""
    return bytes([kind, bit]) + name.encode().ljust(46, b"\0")


def deflate(data: bytes) -> bytes:
    """Raw deflate with a 4 KiB window, as qcow2's zlib type has it."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12)
    return compressor.compress(data) + compressor.flush()


def zstd_run(byte: int, length: int) -> bytes:
    """A zstd frame of one block that repeats one byte; the frame states its length."""
    frame_header = b"\x28\xb5\x2f\xfd" + b"\xa0" + length.to_bytes(4, "little")
    last_block, run_length = 1, 1
    block_header = (last_block | run_length << 1 | length << 3).to_bytes(3, "little")
    return frame_header + block_header + bytes([byte])
