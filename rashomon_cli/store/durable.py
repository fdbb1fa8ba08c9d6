"""The one way in which this package writes a file: beside, flushed, renamed, and the folder flushed too.

After :func:`write` returns, the new content survives a crash; before, the old content does. The umask decides the mode.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import Damaged


def write(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write a file durably and atomically.

    Args:
        path: where it shall lie; the folder exists.
        content: the bytes, or a function that writes the file at the path that it is given.

    Raises:
        OSError: if the disk refuses; the old content is intact then and nothing is left beside it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        if callable(content):
            content(beside)
            descriptor = os.open(beside, os.O_RDWR)
        else:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                stream.write(content)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document durably, keys in the order given.

    Raises:
        OSError: if the disk refuses.
    """
    write(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises:
        Damaged: if the file is no JSON.
        FileNotFoundError: if it does not exist.
    """
    try:
        return json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise Damaged(
            f"{path.name} of {path.parent.name} is not readable JSON", "restore the file from a copy"
        ) from None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
