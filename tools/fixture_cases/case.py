# SPDX-License-Identifier: GPL-2.0-or-later
"""A case, and the image that a case makes.

Everything done to an image is a shell command: it runs as recorded, so the "commands" of a JSON file can be pasted
into a shell in an empty directory.
"""

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .qcow2 import END_OF_EXTENSIONS, FIELDS, Layout, header_extension


@dataclass(frozen=True)
class Case:
    """One JSON file of Fixtures/."""

    name: str
    description: str
    # Makes the files; None where another case made them.
    make: Callable[["Image"], None] | None
    # Words that our one-line error contains; None where the image must be accepted.
    refusal: tuple[str, ...] | None = None
    # Words that listing the image's bitmaps says, where they are damaged and the disk is not: QEMU doesn't open it.
    bitmaps: tuple[str, ...] | None = None
    # Of that listing: 0 where only the bits of a bitmap are lost.
    bitmaps_exit_code: int = 1
    # Of the refusal: 2 where the user is to give another option, else 1.
    exit_code: int = 1
    arguments: tuple[str, ...] = ()
    format: str = "qcow2"
    # Name of the image's file; the name of the case by default.
    image: str | None = None
    # Internal snapshot that the facts are about.
    snapshot: str | None = None
    # False where qemu-img check has no verdict.
    checked: bool = True
    # False where the block status of qemu-img is nothing to go by.
    mapped: bool = True
    # False where the content is too large to digest.
    digest: bool = True

    @property
    def file(self) -> str:
        return self.image or f"{self.name}.{self.format}"


class Image:
    """An image in the making, in a directory of its own."""

    def __init__(self, name: str, file: str, directory: Path) -> None:
        self.name = name
        self.file = file
        self.directory = directory
        self.commands: list[str] = []

    def beside(self, suffix: str) -> str:
        """Name of another file of this fixture (backing file, data file)."""
        return f"{self.name}.{suffix}"

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return (self.directory / self.file).stat().st_size

    def layout(self, file: str | None = None) -> Layout:
        """Where the structures are now."""
        return Layout((self.directory / (file or self.file)).read_bytes())

    # Making it

    def shell(self, command: str) -> None:
        self.commands.append(command)
        done = subprocess.run(
            ["bash", "-c", f"ulimit -c 0; {command}"],
            cwd=self.directory, text=True, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: {command}\n{done.stdout}{done.stderr}")

    def create(self, size: int | str | None, file: str | None = None, backing: str | None = None,
               backing_format: str = "qcow2", unsafe: bool = False, **options: object) -> None:
        """qemu-img create; `unsafe` does not open the backing file, and so needs a size."""
        words = ["qemu-img create -q -f qcow2"]
        if options:
            words.append("-o " + ",".join(f"{key}={value}" for key, value in options.items()))
        if backing is not None:
            words.append(f"-b {shlex.quote(backing)} -F {backing_format}")
        if unsafe:
            words.append("-u")
        words.append(file or self.file)
        if size is not None:
            words.append(str(size))
        self.shell(" ".join(words))

    def io(self, *commands: str, file: str | None = None, flags: str = "-f qcow2") -> None:
        """qemu-io, for example `write -P 1 0 64K`.

        A compressed write is to have one cluster: qemu-io compresses several at a time, and stores them in any order.
        """
        quoted = " ".join(f"-c {shlex.quote(command)}" for command in commands)
        self.shell(f"qemu-io {flags} {quoted} {file or self.file} >/dev/null")

    def text(self, length: int | str, file: str) -> None:
        """Writes a raw file of lines with numbers, which compress to about a third."""
        self.shell(f"seq 500000 | head -c {length} >{file}")

    # Patching it

    def patch(self, offset: int, data: bytes, what: str, file: str | None = None) -> None:
        octets = "".join(f"\\x{byte:02x}" for byte in data)
        self.shell(f"printf '{octets}' | dd of={file or self.file} bs=1 seek={offset} conv=notrunc status=none"
                   f"  # {what}")

    def patch_integer(self, offset: int, value: int, what: str, width: int = 8, file: str | None = None) -> None:
        self.patch(offset, value.to_bytes(width, "big"), what, file)

    def set(self, field: str, value: int, file: str | None = None) -> None:
        """Sets a header field of qcow2."""
        offset, width = FIELDS[field]
        self.patch_integer(offset, value, field, width, file)

    def add_extension(self, kind: int, data: bytes, what: str) -> None:
        """Adds a header extension to an image without a backing file, whose name would stand in the way."""
        layout = self.layout()
        assert layout.field("backing_file_offset") == 0
        self.patch(layout.extension(END_OF_EXTENSIONS), header_extension(kind, data), what)

    def truncate(self, length: int, file: str | None = None) -> None:
        self.shell(f"truncate -s {length} {file or self.file}")


def case(cases: list[Case], **properties) -> Callable[[Callable[[Image], None]], Callable[[Image], None]]:
    """Adds the function as a case: its name names it, its doc comment describes it."""

    def add(make: Callable[[Image], None]) -> Callable[[Image], None]:
        name = make.__name__.replace("_", "-")
        cases.append(Case(name, " ".join((make.__doc__ or "").split()), make, **properties))
        return make

    return add
