"""The one way in which this package writes a file: beside, flushed, renamed, and the folder flushed too.

After :func:`write` returns, the new content survives a crash; before, the old content does. The umask decides the mode.
What is read is a regular file or damage: a folder, a pipe or a loop of links in its place is never waited for.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import Damaged

DEEPEST = 64  # nested lists and objects of a JSON document


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


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, open for reading.

    Raises:
        Damaged: if it is none, or the disk refuses.
        FileNotFoundError: if it does not exist.
    """
    hint = "restore the file from a copy"
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise Damaged(f"{path.name} of {path.parent.name} is no regular file", hint)
            yield stream
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"{path.name} of {path.parent.name} cannot be read: {error.strerror}", hint) from None


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        Damaged: if it is no regular file, or the disk refuses.
        FileNotFoundError: if it does not exist.
    """
    with opened(path) as stream:
        return stream.read()


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises:
        Damaged: if the file is no JSON.
        FileNotFoundError: if it does not exist.
    """
    return parse_json(read(path), f"{path.name} of {path.parent.name}")


def parse_json(content: bytes, where: str) -> Any:
    """The value of a JSON document whose numbers are finite and whose text can be shown.

    Args:
        content: of the file.
        where: names the file in the error.

    Returns:
        The value.

    Raises:
        Damaged: if it is no such document, or nested deeper than any of ours.
    """
    try:
        value = json.loads(content)
        _check(value, 0)
    except (ValueError, RecursionError):
        raise Damaged(f"{where} is not readable JSON", "restore the file from a copy") from None
    return value


def _check(value: Any, depth: int) -> None:
    """Refuse what JSON's grammar lets through and what could not be written again.

    Raises:
        ValueError: if there is something like that.
    """
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is not finite")
    elif isinstance(value, dict | list):
        if depth == DEEPEST:
            raise ValueError("nested too deeply")
        for item in value if isinstance(value, list) else (*value, *value.values()):
            _check(item, depth + 1)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(folder: Path, target: Path) -> None:
    """Move a folder within the store, atomically and durably.

    Raises:
        OSError: if the disk refuses, or there is something at the target.
    """
    os.rename(folder, target)
    sync_folder(target.parent)
    sync_folder(folder.parent)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        Damaged: if it is no regular file, or the disk refuses.
        FileNotFoundError: if it does not exist.
    """
    with opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
