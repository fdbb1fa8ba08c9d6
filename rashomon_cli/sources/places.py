"""Targets that name a file or folder: ``folder:PATH``, ``npz:PATH``, ``path/to/file.py:name``.

Where a file lies is no part of what a run is: a run's options keep its name, its record the absolute path beside.
"""

from __future__ import annotations

import re
from pathlib import Path

_TARGET = re.compile(r"(?P<before>folder:|npz:|)(?P<path>.*?)(?P<after>(?<=\.py):[^:/]*|)", re.DOTALL)


def path_of(target: str) -> Path | None:
    """The absolute path in a target, or None where it names no file: ``digits``, ``package.module:name``."""
    before, path, after = _parts(target)
    return Path(path).absolute() if before or after else None


def bare(target: str) -> str:
    """The target with the name of its file or folder alone, wherever that lies."""
    path = path_of(target)
    return target if path is None else at(target, Path(path.resolve().name))


def at(target: str, path: Path | None) -> str:
    """The target with its file or folder at another place; unchanged where there is none."""
    before, _, after = _parts(target)
    return target if path is None else f"{before}{path}{after}"


def recalled(target: str, path: str | None) -> Path | None:
    """Where the file of a recorded target is now: where it was then if it is still there, else where it was typed.

    Args:
        target: as the user typed it, perhaps in another working directory.
        path: the absolute path that it had then, where it names a file.

    Returns:
        An absolute path, or None where the target names no file.
    """
    return Path(path) if path is not None and Path(path).exists() else path_of(target)


def _parts(target: str) -> tuple[str, str, str]:
    found = _TARGET.fullmatch(target)
    assert found is not None
    return found["before"], found["path"], found["after"]
