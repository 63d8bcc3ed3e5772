# SPDX-License-Identifier: GPL-2.0-or-later
"""What the JSON file of a fixture states, as the installed qemu-img sees the image."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .case import Case
from .qcow2 import BITMAPS, FIELDS, Layout

Facts = dict[str, object]

# Seconds. Everything takes milliseconds.
TIMEOUT = 60


def qemu_img(directory: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["qemu-img", *words], cwd=directory, env={**os.environ, "LC_ALL": "C"},
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)


def state(case: Case, commands: list[str], directory: Path) -> Facts:
    """The facts of a case, whose files lie in the directory."""
    result: Facts = {
        "description": case.description,
        "commands": commands,
        "file": case.file,
        "format": case.format,
        "arguments": list(case.arguments),
        "virtual-size": None,
        "cluster-size": None,
        "map": None,
        "sha256": None,
        "check": None,
        "error": None,
    }
    if case.format == "qcow2" and case.checked:
        result["check"] = {"exit-code": qemu_img(directory, "check", "-f", "qcow2", case.file).returncode}
    if case.refusal is not None:
        result["error"] = {"exit-code": case.exit_code, "message-contains": list(case.refusal)}
    elif case.bitmaps is not None:
        result |= content_without_bitmaps(case, directory)
        result["bitmaps"] = {"exit-code": case.bitmaps_exit_code, "message-contains": list(case.bitmaps)}
    elif case.snapshot is not None:
        result |= content_of_snapshot(case, directory)
    else:
        result |= content(case, case.file, directory)
    return result


def content(case: Case, file: str, directory: Path) -> Facts:
    """Sizes, block status and digest of an image."""
    info = json.loads(output(directory, "info", "--output=json", "-f", case.format, file))
    result: Facts = {"virtual-size": info["virtual-size"]}
    if case.format == "qcow2":
        result["cluster-size"] = info["cluster-size"]
        # No map of raw files: whether zeros are holes depends on the file system that they were checked out to.
        if case.mapped:
            result["map"] = json.loads(output(directory, "map", "--output=json", "-f", "qcow2", file))
    if case.digest:
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "content.raw"
            output(directory, "convert", "-f", case.format, "-O", "raw", file, str(copy))
            with copy.open("rb") as stream:
                result["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    return result


def content_without_bitmaps(case: Case, directory: Path) -> Facts:
    """The same of an image whose bitmaps qemu-img refuses: a copy declares that it has none."""
    with tempfile.TemporaryDirectory() as scratch:
        image = bytearray((directory / case.file).read_bytes())
        layout = Layout(bytes(image))
        for extension in layout.extensions():
            if layout.integer(extension, 4) == BITMAPS:
                # An unknown extension, which is ignored.
                image[extension:extension + 4] = b"none"
        autoclear = FIELDS["autoclear_features"][0]
        image[autoclear:autoclear + 8] = bytes(8)
        (Path(scratch) / case.file).write_bytes(image)
        return content(case, case.file, Path(scratch))


def content_of_snapshot(case: Case, directory: Path) -> Facts:
    """The same of an internal snapshot: it is made the active state of a copy."""
    assert case.snapshot is not None
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(directory / case.file, scratch)
        output(Path(scratch), "snapshot", "-q", "-a", case.snapshot, case.file)
        return content(case, case.file, Path(scratch))


def output(directory: Path, *words: str) -> bytes:
    done = qemu_img(directory, *words)
    if done.returncode != 0:
        raise SystemExit(f"qemu-img {' '.join(words)}: {done.stderr.decode()}")
    return done.stdout


def differences(recorded: Facts, found: Facts) -> list[str]:
    """What differs. A newer qemu-img may say more of an extent than was recorded."""
    result = []
    for key, value in recorded.items():
        now = found.get(key)
        if key == "map" and isinstance(value, list) and isinstance(now, list) and len(now) == len(value):
            now = [{name: extent.get(name) for name in old} for old, extent in zip(value, now)]
        if now != value:
            result.append(f"{key} is {json.dumps(now)}, recorded is {json.dumps(value)}")
    return result


def read(path: Path) -> Facts | None:
    return json.loads(path.read_text()) if path.exists() else None


def write(path: Path, facts: Facts) -> None:
    """Writes one line for each key, and one for each member of a list."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, list) and value:
            members = ",\n".join("    " + json.dumps(member) for member in value)
            lines.append(f"  {json.dumps(key)}: [\n{members}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
