# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that must be refused, with words of the refusal.

qemu-img reads some of them, and shows zeros or other structures' bytes as data. A backup must not. The "check" of
their JSON is what qemu-img says all the same.
"""

from functools import partial

from .case import Case, Image, case
from .qcow2 import (
    BACKING_FORMAT, COMPRESSION_TYPE, COPIED, END_OF_EXTENSIONS, EXTENDED_L2, EXTERNAL_DATA_FILE, FEATURE_NAME_TABLE,
    ZERO, deflate, feature_name, zstd_run)

CASES: list[Case] = []

CLUSTER = 4096
# Guest clusters that one L2 table of `small` maps.
CLUSTERS_PER_L2 = CLUSTER // 8
FAR = 1 << 40

PAST_END = "past the end of the file"


def rejected(*words: str, **properties):
    """Adds a case; its one-line error contains the words."""
    return case(CASES, refusal=words, **properties)


def small(image: Image, **options: object) -> None:
    """The image that most cases damage: two L2 tables, data in guest clusters 0 to 3 and at the start of the second."""
    image.create("4M", cluster_size=CLUSTER, **options)
    image.io("write -q -P 0x11 0 16K", "write -q -P 0x22 2M 8K")


# Header fields, each with one bad value

BAD_FIELDS = [
    # name, description, field, value, words of the refusal
    ("bad-version-1", "Version 1, another format.", "version", 1, ["version"]),
    ("bad-version-4", "A version that does not exist.", "version", 4, ["version"]),
    ("bad-cluster-bits-8", "Clusters of 256 bytes, below the least.", "cluster_bits", 8, ["cluster_bits"]),
    ("bad-cluster-bits-22", "Clusters of 4 MiB, above the most.", "cluster_bits", 22, ["cluster_bits"]),
    ("bad-cluster-bits-63", "A cluster size that no signed number holds.", "cluster_bits", 63, ["cluster_bits"]),
    ("bad-cluster-bits-2-31", "A cluster size that no number holds.", "cluster_bits", 1 << 31, ["cluster_bits"]),
    ("bad-virtual-size-2-63", "A virtual size that no file has.", "size", 1 << 63, ["size"]),
    ("bad-virtual-size-2-64", "The largest number as virtual size.", "size", (1 << 64) - 1, ["size"]),
    ("bad-encryption-aes", "Encrypted with AES.", "crypt_method", 1, ["encrypted"]),
    ("bad-encryption-luks", "Encrypted with LUKS.", "crypt_method", 2, ["encrypted"]),
    ("bad-encryption-unknown", "An encryption method that does not exist.", "crypt_method", 3, ["encrypt"]),
    ("bad-l1-size-2-31", "An L1 table of 16 GiB.", "l1_size", 1 << 31, ["L1 table", "too large"]),
    ("bad-l1-size-too-small", "An L1 table of one entry where the disk needs two.", "l1_size", 1,
     ["L1 table", "too small"]),
    ("bad-l1-size-0", "No L1 table.", "l1_size", 0, ["L1 table", "too small"]),
    ("bad-l1-offset-past-end", "The L1 table lies past the end of the file.", "l1_table_offset", FAR,
     ["L1 table", PAST_END]),
    ("bad-l1-offset-overflow", "The end of the L1 table is no number.", "l1_table_offset", (1 << 64) - CLUSTER,
     ["L1 table"]),
    ("bad-l1-offset-unaligned", "The L1 table does not start at a cluster.", "l1_table_offset", 3 * CLUSTER + 512,
     ["L1 table", "not aligned"]),
    ("bad-refcount-order-7", "Refcounts of 128 bits.", "refcount_order", 7, ["refcount_order"]),
    ("bad-refcount-order-2-31", "A refcount width that no number holds.", "refcount_order", 1 << 31,
     ["refcount_order"]),
    ("bad-header-length-2-31", "A header of 2 GiB.", "header_length", 1 << 31, ["header_length"]),
    ("bad-header-length-96", "A header that ends before its own length.", "header_length", 96, ["header_length"]),
    ("bad-compression-type-without-feature", "zstd without the feature bit that announces it.", "compression_type", 1,
     ["compression"]),
]


def set_field(image: Image, field: str, value: int) -> None:
    small(image)
    image.set(field, value)


for name, description, field, value, words in BAD_FIELDS:
    CASES.append(Case(name, description, partial(set_field, field=field, value=value), refusal=tuple(words)))


@rejected("compression")
def bad_compression_type_2(image: Image) -> None:
    """A compression type that does not exist, with its feature bit."""
    small(image)
    image.set("incompatible_features", COMPRESSION_TYPE)
    image.set("compression_type", 2)


@rejected("feature", "40")
def bad_feature_without_name(image: Image) -> None:
    """An unknown incompatible feature, bit 40."""
    small(image)
    image.set("incompatible_features", 1 << 40)


@rejected("feature", "time travel")
def bad_feature_with_name(image: Image) -> None:
    """An unknown incompatible feature that the feature name table calls “time travel”."""
    small(image)
    image.set("incompatible_features", 1 << 40)
    image.add_extension(FEATURE_NAME_TABLE, feature_name(1, 40, "wrong kind") + feature_name(0, 40, "time travel"),
                        "feature name table")


@rejected("header extension")
def bad_header_extension_too_long(image: Image) -> None:
    """A header extension that runs past the first cluster."""
    small(image)
    image.patch(image.layout().extension(END_OF_EXTENSIONS), bytes.fromhex("71636234 00100000"),
                "header extension of 1 MiB")


# Files that are cut off, or no qcow2


@rejected("qcow2", arguments=("-f", "qcow2"))
def bad_magic(image: Image) -> None:
    """No qcow2 image, though the user says so."""
    image.text("64K", image.file)


@rejected("qcow2", arguments=("-f", "qcow2"))
def bad_empty_file(image: Image) -> None:
    """A file of no bytes."""
    image.truncate(0)


@rejected("header")
def bad_truncated_in_header(image: Image) -> None:
    """The file ends in the header."""
    small(image)
    image.truncate(60)


@rejected("end of the file")
def bad_truncated_in_l1(image: Image) -> None:
    """The file ends in the L1 table."""
    small(image)
    image.truncate(image.layout().l1_entry(1))


@rejected("end of the file")
def bad_truncated_in_l2(image: Image) -> None:
    """The file ends in an L2 table."""
    small(image)
    image.truncate(image.layout().l2_table(1) + 512)



@rejected("end of the file")
def bad_truncated_before_data(image: Image) -> None:
    """The file ends before the last data clusters."""
    small(image)
    image.truncate(image.layout().host_offset(CLUSTERS_PER_L2))


@rejected("compressed")
def bad_truncated_in_compressed_data(image: Image) -> None:
    """The file ends in the last compressed cluster."""
    text = image.beside("text")
    image.text("64K", text)
    image.shell(f"qemu-img convert -c -m 1 -f raw -O qcow2 -o cluster_size={CLUSTER} {text} {image.file}")
    image.shell(f"rm {text}")
    image.truncate(image.layout().host_offset(15) + 256)



# L1 entries


def damage_l1(image: Image, entry: int, what: str) -> None:
    small(image)
    image.patch_integer(image.layout().l1_entry(1), entry, what)


@rejected("L2 table", PAST_END)
def bad_l1_entry_past_end(image: Image) -> None:
    """An L1 entry that points past the end of the file."""
    damage_l1(image, COPIED | FAR, "L1 entry past the end")


@rejected("L2 table", "not aligned")
def bad_l1_entry_unaligned(image: Image) -> None:
    """An L1 entry that does not point to the start of a cluster."""
    small(image)
    layout = image.layout()
    image.patch_integer(layout.l1_entry(1), COPIED | layout.l2_table(1) + 512, "unaligned L1 entry")


@rejected("L1", "reserved bits")
def bad_l1_entry_reserved_bits(image: Image) -> None:
    """An L1 entry with a reserved bit."""
    small(image)
    layout = image.layout()
    image.patch_integer(layout.l1_entry(1), COPIED | 1 << 60 | layout.l2_table(1), "reserved bit 60 of an L1 entry")



@rejected("overlaps")
def bad_l1_entry_into_l1_table(image: Image) -> None:
    """An L1 entry that points to the L1 table."""
    small(image)
    layout = image.layout()
    image.patch_integer(layout.l1_entry(1), COPIED | layout.field("l1_table_offset"), "L1 entry to the L1 table")


@rejected("overlaps")
def bad_l1_entry_into_refcount_block(image: Image) -> None:
    """An L1 entry that points to a refcount block."""
    small(image)
    layout = image.layout()
    image.patch_integer(layout.l1_entry(1), COPIED | layout.refcount_block, "L1 entry to a refcount block")


# L2 entries


def damage_l2(image: Image, entry: int, what: str) -> None:
    """Replaces the entry of the second guest cluster."""
    image.patch_integer(image.layout().l2_entry(1), entry, what)


@rejected(PAST_END)
def bad_l2_entry_past_end(image: Image) -> None:
    """An L2 entry that points past the end of the file."""
    small(image)
    damage_l2(image, COPIED | FAR, "L2 entry past the end")


@rejected("not aligned")
def bad_l2_entry_unaligned(image: Image) -> None:
    """An L2 entry that does not point to the start of a cluster."""
    small(image)
    damage_l2(image, COPIED | image.layout().host_offset(1) + 512, "unaligned L2 entry")


@rejected("L2", "reserved bits")
def bad_l2_entry_reserved_bits(image: Image) -> None:
    """An L2 entry with a reserved bit."""
    small(image)
    damage_l2(image, COPIED | 1 << 57 | image.layout().host_offset(1), "reserved bit 57 of an L2 entry")


@rejected("L2", "reserved bits")
def bad_l2_zero_in_version_2(image: Image) -> None:
    """A zero cluster in version 2, where that bit is reserved."""
    small(image, compat="0.10")
    damage_l2(image, COPIED | ZERO | image.layout().host_offset(1), "zero bit of an L2 entry")



@rejected("overlaps")
def bad_l2_entry_into_l1_table(image: Image) -> None:
    """An L2 entry that points to the L1 table."""
    small(image)
    damage_l2(image, COPIED | image.layout().field("l1_table_offset"), "L2 entry to the L1 table")


@rejected("overlaps")
def bad_l2_entry_into_itself(image: Image) -> None:
    """An L2 entry that points to its own L2 table."""
    small(image)
    damage_l2(image, COPIED | image.layout().l2_table(0), "L2 entry to its own L2 table")


@rejected("overlaps")
def bad_l2_entry_into_l2_table(image: Image) -> None:
    """An L2 entry that points to another L2 table."""
    small(image)
    damage_l2(image, COPIED | image.layout().l2_table(1), "L2 entry to another L2 table")


@rejected("overlaps")
def bad_l2_entry_into_refcount_table(image: Image) -> None:
    """An L2 entry that points to the refcount table."""
    small(image)
    damage_l2(image, COPIED | image.layout().field("refcount_table_offset"), "L2 entry to the refcount table")


@rejected("overlaps")
def bad_l2_entry_into_refcount_block(image: Image) -> None:
    """An L2 entry that points to a refcount block."""
    small(image)
    damage_l2(image, COPIED | image.layout().refcount_block, "L2 entry to a refcount block")


@rejected("subcluster")
def bad_subcluster_data_and_zero(image: Image) -> None:
    """An extended L2 entry with a subcluster that is both data and zero."""
    image.create("256K", cluster_size=16384, extended_l2="on")
    image.io("write -q -P 0x11 0 16K")
    image.patch_integer(image.layout().l2_entry(0) + 8, 1 << 36 | 0xFFFF_FFFF, "subcluster 4 is data and zero")


@rejected("subcluster")
def bad_subcluster_data_without_cluster(image: Image) -> None:
    """An extended L2 entry with data subclusters and no host cluster."""
    image.create("256K", cluster_size=16384, extended_l2="on")
    image.io("write -q -P 0x11 0 16K")
    image.patch_integer(image.layout().l2_entry(0), 0, "no host cluster")


@rejected("cluster_bits")
def bad_extended_l2_cluster_bits(image: Image) -> None:
    """Extended L2 entries with clusters of 4 KiB, whose subclusters would be smaller than a sector."""
    small(image)
    image.set("incompatible_features", EXTENDED_L2)


# Compressed clusters


def damage_compressed(image: Image, data: bytes, what: str, **options: object) -> None:
    """Replaces the compressed data of the first of two guest clusters."""
    image.create("256K", cluster_size=CLUSTER, **options)
    image.io("write -q -c -P 0x11 0 4K", "write -q -P 0x22 64K 4K")
    image.patch(image.layout().host_offset(0), data, what)


BAD_COMPRESSED = [
    # name, description, data, compression type
    ("bad-zlib-short", "Compressed data that inflates to half a cluster.", deflate(b"\x11" * (CLUSTER // 2)), "zlib"),
    ("bad-zlib-long", "Compressed data that inflates to two clusters.", deflate(b"\x11" * (CLUSTER * 2)), "zlib"),
    ("bad-zlib-garbage", "Compressed data that is none.", b"\xff" * 16, "zlib"),
    ("bad-zstd-short", "A zstd frame of half a cluster.", zstd_run(0x11, CLUSTER // 2), "zstd"),
    ("bad-zstd-long", "A zstd frame of two clusters.", zstd_run(0x11, CLUSTER * 2), "zstd"),
    ("bad-zstd-garbage", "zstd data that is none.", b"\xff" * 16, "zstd"),
]
for name, description, data, compression in BAD_COMPRESSED:
    CASES.append(Case(
        name, description, refusal=("compressed",),
        make=partial(damage_compressed, data=data, what="compressed data", compression_type=compression)))


@rejected("compressed", PAST_END)
def bad_compressed_past_end(image: Image) -> None:
    """A compressed cluster past the end of the file."""
    small(image)
    damage_l2(image, image.layout().compressed_descriptor(FAR, 2), "compressed cluster past the end")


@rejected("overlaps")
def bad_compressed_into_header(image: Image) -> None:
    """A compressed cluster that lies in the header."""
    small(image)
    damage_l2(image, image.layout().compressed_descriptor(512, 1), "compressed cluster in the header")


@rejected("overlaps")
def bad_compressed_into_l2_table(image: Image) -> None:
    """A compressed cluster that lies in an L2 table."""
    small(image)
    layout = image.layout()
    damage_l2(image, layout.compressed_descriptor(layout.l2_table(1) + 16, 0), "compressed cluster in an L2 table")


# Backing files. qemu-img 7.2 follows a loop for ever, or until it is out of resources: no verdict to record.


@rejected("loop", checked=False)
def bad_backing_loop(image: Image) -> None:
    """The backing file has this image as its backing file."""
    other = image.beside("other.qcow2")
    image.create("256K", backing=other, unsafe=True, cluster_size=CLUSTER)
    image.create("256K", file=other, backing=image.file, unsafe=True, cluster_size=CLUSTER)


@rejected("loop", checked=False)
def bad_backing_itself(image: Image) -> None:
    """An image that is its own backing file."""
    image.create("256K", backing="./" + image.file, unsafe=True, cluster_size=CLUSTER)


@rejected("loop", checked=False)
def bad_backing_loop_below(image: Image) -> None:
    """A loop that the image itself has no part in: two backing files of each other, under other names."""
    one, two = image.beside("one.qcow2"), image.beside("two.qcow2")
    image.create("256K", backing=one, unsafe=True, cluster_size=CLUSTER)
    image.create("256K", file=one, backing="./" + two, unsafe=True, cluster_size=CLUSTER)
    image.create("256K", file=two, backing="./" + one, unsafe=True, cluster_size=CLUSTER)


@rejected("absent.qcow2")
def bad_backing_missing(image: Image) -> None:
    """The backing file does not exist."""
    image.create("256K", backing="absent.qcow2", unsafe=True, cluster_size=CLUSTER)


@rejected("backing", "format", exit_code=2)
def bad_backing_without_format(image: Image) -> None:
    """The format of the backing file is not recorded, and is not to be guessed."""
    image.create("256K", file=image.beside("base.qcow2"), cluster_size=CLUSTER)
    image.create("256K", backing=image.beside("base.qcow2"), cluster_size=CLUSTER)
    image.patch(image.layout().extension(BACKING_FORMAT), bytes(8), "end of header extensions, no backing format")


@rejected("qcow2")
def bad_backing_of_another_format(image: Image) -> None:
    """The backing file is recorded as qcow2 and is raw."""
    name = image.beside("base.raw")
    image.text("64K", name)
    image.create("64K", backing=name, unsafe=True, cluster_size=CLUSTER)


@rejected("backing", "UTF-8")
def bad_backing_name_not_text(image: Image) -> None:
    """A backing file name that is no text: read as such, it would become the name of another file."""
    name = image.beside("base.qcow2")
    image.create("64K", backing=name, unsafe=True, cluster_size=CLUSTER)
    image.patch(image.layout().field("backing_file_offset") + len(image.name) + 1, b"\xff", "not UTF-8")


@rejected("backing")
def bad_backing_name_too_long(image: Image) -> None:
    """A backing file name of 2 KiB; 1023 bytes is the most."""
    small(image)
    image.set("backing_file_offset", 1024)
    image.set("backing_file_size", 2048)


@rejected("backing")
def bad_backing_name_past_cluster(image: Image) -> None:
    """A backing file name that leaves the first cluster."""
    small(image)
    image.set("backing_file_offset", CLUSTER - 8)
    image.set("backing_file_size", 64)


@rejected("backing")
def bad_backing_name_overflow(image: Image) -> None:
    """A backing file name whose end is no number."""
    small(image)
    image.set("backing_file_offset", (1 << 64) - 8)
    image.set("backing_file_size", 64)


# External data files


@rejected("data file")
def bad_data_file_missing(image: Image) -> None:
    """The external data file does not exist."""
    data = image.beside("data")
    image.create("256K", cluster_size=CLUSTER, data_file=data)
    image.io("write -q -P 0x11 0 16K")
    image.shell(f"rm {data}")


@rejected("data file")
def bad_data_file_without_name(image: Image) -> None:
    """An external data file that the image does not name."""
    small(image)
    image.set("incompatible_features", EXTERNAL_DATA_FILE)


# Internal snapshots


def with_snapshot(image: Image) -> None:
    """An image with the snapshot “first”, whose date is fixed."""
    small(image)
    image.shell(f"qemu-img snapshot -q -c first {image.file}")
    image.patch(image.layout().snapshots()[0] + 16, bytes(8), "date of the snapshot")


@rejected("snapshot", "absent", exit_code=2, arguments=("--snapshot", "absent"))
def bad_snapshot_absent(image: Image) -> None:
    """A snapshot that the image does not have."""
    with_snapshot(image)


@rejected("snapshot", arguments=("--snapshot", "first"))
def bad_snapshot_count_2_31(image: Image) -> None:
    """A snapshot table of 2^31 entries."""
    with_snapshot(image)
    image.set("nb_snapshots", 1 << 31)


@rejected("snapshot", PAST_END, arguments=("--snapshot", "first"))
def bad_snapshot_table_past_end(image: Image) -> None:
    """The snapshot table lies past the end of the file."""
    with_snapshot(image)
    image.set("snapshots_offset", FAR)


@rejected("snapshot", "not aligned", arguments=("--snapshot", "first"))
def bad_snapshot_table_unaligned(image: Image) -> None:
    """The snapshot table does not start at a cluster."""
    with_snapshot(image)
    image.set("snapshots_offset", image.layout().field("snapshots_offset") + 8)


@rejected("L1 table", PAST_END, arguments=("--snapshot", "first"))
def bad_snapshot_l1_past_end(image: Image) -> None:
    """The L1 table of the snapshot lies past the end of the file."""
    with_snapshot(image)
    image.patch_integer(image.layout().snapshots()[0], FAR, "l1_table_offset of the snapshot")


@rejected("L1 table", "too large", arguments=("--snapshot", "first"))
def bad_snapshot_l1_size_2_31(image: Image) -> None:
    """The L1 table of the snapshot has 2^31 entries."""
    with_snapshot(image)
    image.patch_integer(image.layout().snapshots()[0] + 8, 1 << 31, "l1_size of the snapshot", width=4)


@rejected("snapshot", arguments=("--snapshot", "first"))
def bad_snapshot_extra_data(image: Image) -> None:
    """A snapshot with 4 GiB of extra data."""
    with_snapshot(image)
    image.patch_integer(image.layout().snapshots()[0] + 36, (1 << 32) - 1, "extra data size", width=4)
