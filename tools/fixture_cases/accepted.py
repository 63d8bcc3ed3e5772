# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that must be read."""

from functools import partial

from .case import Case, Image, case
from .qcow2 import COPIED, CORRUPT, DIRTY, FEATURE_NAME_TABLE, feature_name

CASES: list[Case] = []
accepted = partial(case, CASES)

# 2026-01-01, for what qemu-img would date today.
FIXED_DATE = 1_767_225_600


def sample(image: Image, size: int | str = "1M", cluster: int = 4096, v3: bool = True, **options: object) -> None:
    """An image with a bit of everything: data, text, compressed, zero and unallocated clusters."""
    image.create(size, cluster_size=cluster, **options)
    text = image.beside("text")
    image.text(3 * cluster, text)
    image.io(
        f"write -q -P 0x11 0 {cluster + 512}",
        f"write -q -s {text} {3 * cluster} {3 * cluster}",
        *(f"write -q -c -s {text} {index * cluster} {cluster}" for index in (7, 8)),
        f"write -q -c -P 0x22 {9 * cluster} {cluster}",
        *([f"write -q -z {10 * cluster} {2 * cluster}"] if v3 else []),
        f"write -q -P 0x33 {14 * cluster + 1024} 1024")
    image.shell(f"rm {text}")


# Header versions and geometry


@accepted()
def version_3(image: Image) -> None:
    """Version 3 with the usual clusters of 64 KiB: data, text, compressed, zero and unallocated clusters."""
    sample(image, cluster=65536)


@accepted()
def version_2(image: Image) -> None:
    """Version 2 (compat=0.10), which has neither feature bits nor zero clusters."""
    sample(image, v3=False, compat="0.10")


for size in (512, 4096):
    CASES.append(Case(f"cluster-size-{size}", f"Clusters of {size} bytes.",
                      partial(sample, size="256K", cluster=size)))


@accepted()
def cluster_size_2M(image: Image) -> None:
    """Clusters of 2 MiB, the largest."""
    image.create("9M", cluster_size="2M")
    image.io("write -q -P 0x11 1M 4K", "write -q -c -P 0x22 4M 2M", "write -q -z 6M 2M")


for bits in (1, 2, 4, 8, 16, 32, 64):
    CASES.append(Case(f"refcount-bits-{bits}", f"Refcounts of {bits} bits.", partial(sample, refcount_bits=bits)))


@accepted()
def virtual_size_0(image: Image) -> None:
    """A disk of no bytes."""
    image.create(0, cluster_size=4096)


@accepted()
def empty(image: Image) -> None:
    """Nothing was ever written."""
    image.create("1M", cluster_size=4096)


@accepted()
def virtual_size_in_cluster(image: Image) -> None:
    """The virtual size ends inside of a cluster, on a sector; the last cluster has data."""
    image.create(128 * 1024 + 1536, cluster_size=4096)
    image.io("write -q -P 0x11 0 4K", "write -q -P 0x22 128K 1536")


@accepted()
def virtual_size_in_compressed_cluster(image: Image) -> None:
    """The virtual size ends inside of the last cluster, which is compressed."""
    size = 64 * 1024 + 2560
    text = image.beside("text")
    image.text(size, text)
    image.shell(f"qemu-img convert -c -m 1 -f raw -O qcow2 -o cluster_size=4096 {text} {image.file}")
    image.shell(f"rm {text}")


@accepted(digest=False)
def virtual_size_1T(image: Image) -> None:
    """A large disk with little in it: a few clusters far apart."""
    image.create("1T", cluster_size=65536)
    image.io("write -q -P 0x11 0 64K", "write -q -P 0x22 500G 64K", "write -q -c -P 0x33 1099511562240 64K")


@accepted()
def grown(image: Image) -> None:
    """Resized after the first writes: the L1 table was moved."""
    image.create("256K", cluster_size=512)
    image.io("write -q -P 0x11 0 64K")
    image.shell(f"qemu-img resize -q -f qcow2 {image.file} 4M")
    image.io("write -q -P 0x22 3M 64K")


# Kinds of clusters


@accepted()
def compressed_zlib(image: Image) -> None:
    """All of it compressed with zlib."""
    text = image.beside("text")
    image.text("256K", text)
    image.shell(f"qemu-img convert -c -m 1 -f raw -O qcow2 -o cluster_size=4096 {text} {image.file}")
    image.shell(f"rm {text}")


@accepted()
def compressed_zlib_64K(image: Image) -> None:
    """Compressed with zlib, in clusters of 64 KiB."""
    text = image.beside("text")
    image.text("256K", text)
    image.shell(f"qemu-img convert -c -m 1 -f raw -O qcow2 {text} {image.file}")
    image.shell(f"rm {text}")


@accepted()
def compressed_zstd(image: Image) -> None:
    """All of it compressed with zstd."""
    text = image.beside("text")
    image.text("256K", text)
    image.shell(
        f"qemu-img convert -c -m 1 -f raw -O qcow2 -o cluster_size=4096,compression_type=zstd {text} {image.file}")
    image.shell(f"rm {text}")


@accepted()
def compressed_zstd_mixed(image: Image) -> None:
    """zstd beside plain, zero and unallocated clusters."""
    sample(image, compression_type="zstd")


@accepted()
def compressed_overwritten(image: Image) -> None:
    """A compressed cluster of which a part was written again, so that it became a plain one."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -c -P 0x11 0 4K", "write -q -c -P 0x22 4K 4K", "write -q -P 0x33 5K 512")


@accepted()
def zero_plain(image: Image) -> None:
    """Zero clusters that have no host cluster."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -P 0x11 0 64K", "write -q -z -u 16K 16K", "write -q -z 128K 64K")


@accepted()
def zero_preallocated(image: Image) -> None:
    """Zero clusters that keep a host cluster, which holds other bytes."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -P 0x11 0 64K", "write -q -z 16K 16K")


@accepted()
def discarded(image: Image) -> None:
    """Data that was discarded, without a backing file: the clusters are unallocated."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -P 0x11 0 64K", "discard -q 8K 16K", flags="-f qcow2 -d unmap")


@accepted()
def discarded_over_backing(image: Image) -> None:
    """Data that was discarded, over a backing file: zero clusters hide it."""
    base = image.beside("base.qcow2")
    image.create("256K", file=base, cluster_size=4096)
    image.io("write -q -P 0x99 0 256K", file=base)
    image.create(None, backing=base, cluster_size=4096)
    image.io("write -q -P 0x11 0 64K", "discard -q 8K 16K", flags="-f qcow2 -d unmap")


@accepted()
def preallocated_metadata(image: Image) -> None:
    """preallocation=metadata: every cluster has a host cluster that was never written."""
    image.create("256K", cluster_size=4096, preallocation="metadata")
    image.io("write -q -P 0x11 64K 4K")


# Extended L2 entries


@accepted()
def extended_l2(image: Image) -> None:
    """Subclusters: data, zero and unallocated ones in one cluster, and a compressed cluster."""
    image.create("256K", cluster_size=16384, extended_l2="on")
    image.io("write -q -P 0x11 0 512", "write -q -P 0x22 1536 1024", "write -q -z 4K 1K", "write -q -P 0x33 15872 1K",
             "write -q -z 32K 16K", "write -q -c -P 0x44 64K 16K", "write -q -P 0x55 128K 16K")


@accepted()
def extended_l2_over_backing(image: Image) -> None:
    """Subclusters over a backing file, which shows through the unallocated ones."""
    base = image.beside("base.qcow2")
    image.create("256K", file=base, cluster_size=4096)
    image.io("write -q -P 0x99 0 192K", file=base)
    image.create(None, backing=base, cluster_size=16384, extended_l2="on")
    image.io("write -q -P 0x11 0 512", "write -q -z 4K 1K", "write -q -P 0x22 48K 1K", "write -q -z 96K 16K",
             "write -q -P 0x33 190K 4K")


# External data files


@accepted()
def data_file(image: Image) -> None:
    """Data in an external file, named relative to the image."""
    image.create("256K", cluster_size=4096, data_file=image.beside("data"))
    image.io("write -q -P 0x11 0 10K", "write -q -z 16K 8K", "write -q -P 0x22 128K 4K")


@accepted()
def data_file_raw(image: Image) -> None:
    """An external data file that is a raw image at the same time."""
    image.create("256K", cluster_size=4096, data_file=image.beside("data"), data_file_raw="on")
    image.io("write -q -P 0x11 0 10K", "write -q -z 16K 8K", "write -q -P 0x22 128K 4K")


# Header extensions and features


@accepted()
def unknown_header_extension(image: Image) -> None:
    """A header extension of a type that nobody knows, to be kept."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -P 0x11 0 4K")
    image.add_extension(0x71636234, b"unknown extension", "unknown header extension")


@accepted()
def unknown_compatible_feature(image: Image) -> None:
    """A compatible feature bit that nobody knows, which does no harm, with a name in the feature name table."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -P 0x11 0 4K")
    image.add_extension(FEATURE_NAME_TABLE, feature_name(1, 63, "harmless feature"), "feature name table")
    image.set("compatible_features", 1 << 63)


@accepted()
def unknown_autoclear_feature(image: Image) -> None:
    """An autoclear feature bit that nobody knows: whoever writes clears it, whoever reads ignores it."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -P 0x11 0 4K")
    image.set("autoclear_features", 1 << 63)


@accepted()
def header_of_104_bytes(image: Image) -> None:
    """Version 3 with the shortest header, which has no compression type."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -P 0x11 0 4K", "write -q -c -P 0x22 4K 4K")
    image.set("header_length", 104)
    image.patch(104, bytes(8), "end of header extensions")


@accepted()
def dirty(image: Image) -> None:
    """Lazy refcounts, and a program that died: the dirty bit is set, the refcounts are behind."""
    image.create("256K", cluster_size=4096, lazy_refcounts="on")
    image.shell(f"qemu-io -f qcow2 -c 'write -q -P 0x11 0 64K' -c flush -c abort {image.file} >/dev/null 2>&1 || true")
    assert image.layout().field("incompatible_features") & DIRTY


@accepted()
def corrupt(image: Image) -> None:
    """Marked corrupt: to be read, not to be written."""
    image.create("256K", cluster_size=4096)
    image.io("write -q -P 0x11 0 64K")
    image.set("incompatible_features", CORRUPT)


@accepted()
def persistent_bitmap(image: Image) -> None:
    """Two persistent dirty bitmaps, one of them disabled."""
    image.create("256K", cluster_size=4096)
    image.shell(f"qemu-img bitmap --add -g 4K -f qcow2 {image.file} nightly")
    image.io("write -q -P 0x11 0 20K")
    image.shell(f"qemu-img bitmap --disable -f qcow2 {image.file} nightly")
    image.shell(f"qemu-img bitmap --add -f qcow2 {image.file} weekly")
    image.io("write -q -P 0x22 128K 4K")


# Internal snapshots


@accepted()
def snapshots(image: Image) -> None:
    """Internal snapshots; this is the active state. The disk grew after the first one."""
    image.create("128K", cluster_size=4096)
    image.io("write -q -P 0x11 0 64K")
    image.shell(f"qemu-img snapshot -q -c first {image.file}")
    image.shell(f"qemu-img resize -q -f qcow2 {image.file} 256K")
    image.io("write -q -P 0x22 0 8K", "write -q -z 16K 8K", "write -q -P 0x33 192K 8K")
    image.shell(f"qemu-img snapshot -q -c second {image.file}")
    image.io("write -q -c -P 0x44 64K 4K", "write -q -P 0x55 0 4K")
    for entry in image.layout().snapshots():
        image.patch(entry + 16, FIXED_DATE.to_bytes(4, "big") + bytes(4), "date of the snapshot")


for snapshot in ("first", "second"):
    CASES.append(Case(
        f"snapshot-{snapshot}", f"The internal snapshot “{snapshot}” of snapshots.qcow2.", None,
        image="snapshots.qcow2", snapshot=snapshot, arguments=("--snapshot", snapshot)))


# Backing files


def overlay(image: Image, size: int | str | None = None, backing: str | None = None, **options: object) -> None:
    """An overlay of clusters of 4 KiB with some data and zeros."""
    image.create(size, backing=backing or image.beside("base.qcow2"), cluster_size=4096, **options)
    image.io("write -q -P 0x11 4K 8K", "write -q -z 32K 8K", "write -q -P 0x22 100K 1K")


def base(image: Image, size: int | str = "256K", file: str = "base.qcow2", cluster: int = 4096) -> None:
    """A backing file with data in most places."""
    name = image.beside(file)
    image.create(size, file=name, cluster_size=cluster)
    image.io("write -q -P 0x99 0 64K", f"write -q -c -P 0xaa 64K {cluster}", "write -q -z 96K 4K",
             f"write -q -P 0xbb 100K {2 * 1024 + 512}", file=name)


@accepted()
def backing(image: Image) -> None:
    """An overlay over a backing file of the same size."""
    base(image)
    overlay(image)


@accepted()
def backing_larger(image: Image) -> None:
    """The backing file is larger than the overlay and ends inside of a cluster of the overlay."""
    base(image)
    overlay(image, 101 * 1024 + 512)


@accepted()
def backing_smaller(image: Image) -> None:
    """The backing file is smaller than the overlay: zeros from there on, not from a cluster boundary."""
    base(image, 102 * 1024 + 512)
    overlay(image, "256K")


@accepted()
def backing_larger_clusters(image: Image) -> None:
    """The backing file has larger clusters than the overlay."""
    base(image, cluster=32768)
    overlay(image)


@accepted()
def backing_smaller_clusters(image: Image) -> None:
    """The backing file has smaller clusters than the overlay."""
    base(image, cluster=512)
    overlay(image)


@accepted()
def backing_version_2(image: Image) -> None:
    """Version 2 with a backing file: zeros are data."""
    base(image)
    overlay(image, compat="0.10")


def over_raw(image: Image, length: int) -> None:
    name = image.beside("base.raw")
    image.text(length, name)
    image.create("128K", backing=name, backing_format="raw", cluster_size=4096)
    image.io("write -q -P 0x11 4K 8K", "write -q -z 32K 8K")


@accepted()
def backing_raw(image: Image) -> None:
    """A raw backing file that ends inside of a cluster."""
    over_raw(image, 100_352)


# Not mapped: qemu-img gives the zeros up to the next sector an offset past the end of the raw file.
@accepted(mapped=False)
def backing_raw_unaligned(image: Image) -> None:
    """A raw backing file whose size is no multiple of the sector."""
    over_raw(image, 100_000)


@accepted()
def backing_in_directory(image: Image) -> None:
    """The backing file lies in a directory below the overlay, and its own backing file beside it."""
    directory = image.beside("d")
    image.shell(f"mkdir {directory}")
    image.create("256K", file=f"{directory}/base.qcow2", cluster_size=4096)
    image.io("write -q -P 0x99 0 128K", file=f"{directory}/base.qcow2")
    image.create(None, file=f"{directory}/middle.qcow2", backing="base.qcow2", cluster_size=4096)
    image.io("write -q -P 0x88 0 16K", file=f"{directory}/middle.qcow2")
    overlay(image, backing=f"{directory}/middle.qcow2")


@accepted()
def backing_chain(image: Image) -> None:
    """A chain of three with other sizes and clusters in each layer."""
    base(image, "300K", "bottom.qcow2", cluster=512)
    image.create("200K", file=image.beside("middle.qcow2"), backing=image.beside("bottom.qcow2"), cluster_size=65536)
    image.io("write -q -P 0x77 8K 8K", "write -q -z 64K 64K", file=image.beside("middle.qcow2"))
    overlay(image, "400K", backing=image.beside("middle.qcow2"))


@accepted()
def backing_json(image: Image) -> None:
    """A backing file named by json:. QEMU takes a relative name inside of it from the working directory."""
    base(image)
    name = '{"driver":"qcow2","file":{"driver":"file","filename":"%s"}}' % image.beside("base.qcow2")
    overlay(image, backing="json:" + name)


@accepted()
def backing_file_protocol(image: Image) -> None:
    """A backing file named with the prefix file:."""
    base(image)
    overlay(image, backing="file:" + image.beside("base.qcow2"))


# What is broken, and can be read all the same


def two_tables(image: Image) -> None:
    """Two L2 tables, data in guest clusters 0 to 3 and at the start of the second."""
    image.create("4M", cluster_size=4096)
    image.io("write -q -P 0x11 0 16K", "write -q -P 0x22 2M 8K")


# qemu-img maps the missing part as data that lies in the file.
@accepted(mapped=False)
def truncated_in_data(image: Image) -> None:
    """The file ends in the last data cluster: what is missing is zeros."""
    two_tables(image)
    image.truncate(image.size - 1024)


@accepted()
def truncated_in_l2_table(image: Image) -> None:
    """The file ends in its last L2 table, behind the entries that are used."""
    two_tables(image)
    layout = image.layout()
    end = image.size
    image.shell(f"dd if={image.file} of={image.file} bs=4096 skip={layout.l2_table(1) // 4096} seek={end // 4096} "
                "count=1 conv=notrunc status=none  # the table again, behind everything else")
    image.truncate(end + 512)
    image.patch_integer(layout.l1_entry(1), COPIED | end, "L1 entry to the table at the end")


@accepted()
def truncated_in_refcount_table(image: Image) -> None:
    """The refcount table is the last thing in the file, which ends behind its first entry."""
    two_tables(image)
    end = image.size
    image.patch_integer(end, image.layout().refcount_block, "first entry of a refcount table")
    image.set("refcount_table_offset", end)


@accepted()
def refcount_table_past_end(image: Image) -> None:
    """The refcount table is lost: it lies far behind the end of the file."""
    two_tables(image)
    image.set("refcount_table_offset", 1 << 40)


@accepted()
def l1_entries_share_l2_table(image: Image) -> None:
    """Two L1 entries that point to the same L2 table."""
    two_tables(image)
    layout = image.layout()
    image.patch_integer(layout.l1_entry(1), COPIED | layout.l2_table(0), "second L1 entry like the first")


@accepted()
def copied_flag_without_cluster(image: Image) -> None:
    """An L2 entry with the copied flag and offset 0: no cluster."""
    two_tables(image)
    image.patch_integer(image.layout().l2_table(0) + 9 * 8, COPIED, "L2 entry with the copied flag alone")


@accepted()
def extended_l2_with_zero_flag(image: Image) -> None:
    """Extended L2 entries with bit 0 set, which means something in other images only."""
    image.create("1M", cluster_size="16K", extended_l2="on")
    image.io("write -q -P 0x11 0 18K", "write -q -z 32K 16K")
    layout = image.layout()
    for entry in (0, 2, 5):
        image.patch(layout.l2_table(0) + 16 * entry + 7, b"\1", "zero flag of an L2 entry")


@accepted()
def virtual_size_in_sector(image: Image) -> None:
    """A virtual size that is no multiple of the sector: the guest sees whole sectors only."""
    sample(image)
    image.set("size", (1 << 20) - 100)


# Raw images


@accepted(format="raw")
def raw(image: Image) -> None:
    """A raw image: text, zeros, text."""
    image.text("64K", image.file)
    image.truncate(192 * 1024)
    image.shell(f"printf 'the end' | dd of={image.file} bs=1 seek=196601 conv=notrunc status=none")


@accepted(format="raw")
def raw_of_1000_bytes(image: Image) -> None:
    """A raw image whose size is no multiple of the sector: the guest sees zeros up to the next one."""
    image.text(1000, image.file)


@accepted(format="raw", arguments=("-f", "raw"))
def raw_like_qcow2(image: Image) -> None:
    """A qcow2 image that the user declares raw, as the guest may have written one there."""
    image.create("64K", file=image.file, cluster_size=4096)
