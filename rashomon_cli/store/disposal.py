"""How something is deleted: out of sight in one step, then for good, so that a crash leaves no half of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from rashomon_cli.store import durable

GONE = ".gone-"  # begins the names of what is being deleted; what is left of it goes next time


def put_away(trash: Path, path: Path) -> Path:
    """Take something out of sight in one step: a file or link is deleted, a folder renamed until it is.

    Args:
        trash: the folder that it is moved to; made where it does not exist.
        path: what may go.

    Returns:
        Where it is now, if anywhere.

    Raises:
        OSError: if the disk refuses.
    """
    if path.parent == trash and path.name.startswith(GONE):
        return path
    if os.path.islink(path) or not os.path.isdir(path):
        path.unlink(missing_ok=True)
        return path
    trash.mkdir(exist_ok=True)
    target = trash / f"{GONE}{path.name}-{secrets.token_hex(4)}"
    durable.move(path, target)
    return target


def destroy(path: Path) -> bool:
    """Delete a file, a link or a folder with all that is in it.

    Returns:
        Whether nothing is left of it.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return not os.path.lexists(path)


def size_of(path: Path) -> int:
    """Bytes in a file, or in all files of a folder; no link is followed, and what vanishes meanwhile counts nothing."""
    files: list[str | Path] = [path]
    if os.path.isdir(path) and not os.path.islink(path):
        files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += os.lstat(file).st_size
    return total
