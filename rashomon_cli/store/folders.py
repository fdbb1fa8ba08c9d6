"""What lies in the folders of a store; a folder or entry that vanishes or cannot be looked at stops nobody."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from rashomon_cli.store.names import is_id

_DRAFT = re.compile(r"\..*\.tmp(-wal|-shm|-journal)?", re.DOTALL)  # the last three are those of a new catalog


def is_draft(name: str) -> bool:
    """Whether a file's name is that of one that is being written, or whose writer was killed."""
    return _DRAFT.fullmatch(name) is not None


def names_in(folder: Path) -> list[str]:
    """Names in a folder, sorted; none where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def files_in(folder: Path) -> list[Path]:
    """What lies in a folder and is no folder; none in one that is only linked to."""
    paths = [] if os.path.islink(folder) else [folder / name for name in names_in(folder)]
    return [path for path in paths if not os.path.isdir(path)]


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, and all links."""
    paths = [folder / name for name in names_in(folder)]
    return [path for path in paths if os.path.islink(path) or os.path.isdir(path)]


def present_runs(folder: Path) -> set[str]:
    """Ids of the run folders in a folder; nothing where it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if is_id(entry.name) and _is_folder(entry)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):  # a loop of links, or one to where nobody may look
        return entry.is_dir()
    return False


def is_blank(folder: Path) -> bool:
    """Whether nothing is in a run folder but a label and drafts, so that it is no run, or not yet."""
    try:
        return all(name == "label.json" or is_draft(name) for name in os.listdir(folder))
    except FileNotFoundError:
        return True
    except OSError:
        return False
