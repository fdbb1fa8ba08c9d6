"""What is deleted for good: the trash, stages that no run needs, what crashes left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rashomon_cli.store import durable
from rashomon_cli.store.catalog import Row
from rashomon_cli.store.index import present_runs
from rashomon_cli.store.library import Library
from rashomon_cli.store.locks import FolderLock, is_locked
from rashomon_cli.store.rows import UNFINISHED, parents
from rashomon_cli.store.stages import stages_of
from rashomon_cli.store.trash import trashed

GONE = ".gone-"  # begins the names of what is being deleted; what is left of it goes next time
DRAFT_S = 3600  # a temporary file of this age has lost its writer

What = Literal["removed run", "interrupted run", "stage", "leftover", "cache"]


@dataclass(frozen=True)
class Dropped:
    """Something that was deleted, or would be.

    Attributes:
        what: its kind.
        name: of the run, or of the folder or files.
        bytes: that it took on the disk.
        paths: where it was.
    """

    what: What
    name: str
    bytes: int
    paths: tuple[Path, ...]


def sweep(store: Library, *, cache: bool = False, interrupted: bool = False, dry_run: bool = False) -> list[Dropped]:
    """Delete what nobody needs; a crash in between leaves nothing but folders that go next time.

    Spared are removed runs from which a run of the store was made, so that they can come back.

    Args:
        store: the store.
        cache: delete decoded data and predictions too.
        interrupted: delete unfinished runs too that no process carries out.
        dry_run: only tell.

    Returns:
        What was deleted, or would be.

    Raises:
        OSError: if the disk refuses.
    """
    with store.writing() as index:
        rows = store.rows()
        unfinished = [row for row in rows if interrupted and row["status"] == "interrupted"]
        kept = [row for row in rows if not interrupted or row["status"] != "interrupted"]
        found = [_of_run("interrupted run", store.runs_folder, row) for row in unfinished]
        found += [*_removed(store, kept), *_leftovers(store, rows)]
        if not dry_run:
            index.forget(*(row["id"] for row in unfinished))
            for each in found:
                for path in each.paths:
                    _put_away(store, path)
        found += _stages(store, kept, dry_run=dry_run)
    found += _cache(store, dry_run=dry_run) if cache else []
    if not dry_run:
        for path in _gone(store):
            shutil.rmtree(path, ignore_errors=True)
    return found


def size_of(path: Path) -> int:
    """Bytes in a file, or in all files of a folder; what vanishes meanwhile counts nothing."""
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    total = 0
    for file in files:
        try:
            total += os.lstat(file).st_size
        except FileNotFoundError:
            continue
    return total


def _of_run(what: What, folder: Path, row: Row) -> Dropped:
    return Dropped(what, row["name"], size_of(folder / row["id"]), (folder / row["id"],))


def _removed(store: Library, rows: list[Row]) -> list[Dropped]:
    """The trash, without runs that one of the store was made from, and without what these were made from."""
    in_trash = {row["id"]: row for row in trashed(store)}
    open_ = [parent for row in rows for parent in parents(row)]
    spared: set[str] = set()
    while open_:
        run = open_.pop()
        if run in in_trash and run not in spared:
            spared.add(run)
            open_ += parents(in_trash[run])
    return [_of_run("removed run", store.trash_folder, row) for run, row in in_trash.items() if run not in spared]


def _stages(store: Library, rows: list[Row], *, dry_run: bool) -> list[Dropped]:
    """Put away stages that no unfinished run needs and no process works on."""
    needed: set[str] = set()
    for row in rows:
        if row["finished"] == UNFINISHED:
            needed |= stages_of(store.runs_folder / row["id"] / "parts")
    found = []
    for folder in _folders(store.stages_folder):
        if folder.name in needed or (lock := FolderLock.seize(folder)) is None:
            continue
        found.append(Dropped("stage", folder.name[:12], size_of(folder), (folder,)))
        try:
            if not dry_run:
                _put_away(store, folder)
        finally:
            lock.release()
    return found


def _cache(store: Library, *, dry_run: bool) -> list[Dropped]:
    """Delete the files of the cache one by one: its folder may be in use."""
    files = _files(store.root / "cache")
    total = sum(map(size_of, files))
    if not dry_run:
        for path in files:
            path.unlink(missing_ok=True)
    return [Dropped("cache", "1 file" if len(files) == 1 else f"{len(files)} files", total, files)] if files else []


def _leftovers(store: Library, rows: list[Row]) -> list[Dropped]:
    """What a process left that was killed while it wrote, published or deleted."""
    left = [*_gone(store), *_drafts(store.root), *_drafts(store.root / "cache")]
    states = {row["id"]: row["status"] for row in rows}
    for run in sorted(present_runs(store.runs_folder)):
        folder, status = store.runs_folder / run, states.get(run)
        if status is None and not is_locked(folder):
            left.append(folder)
        elif status == "finished" and (folder / "parts").is_dir():
            left += [*_drafts(folder), folder / "parts"]
        elif status != "running":
            left += [*_drafts(folder), *_drafts(folder / "parts")]
    for folder in _folders(store.stages_folder):
        left += [] if is_locked(folder) else _drafts(folder)
    return [Dropped("leftover", str(path.relative_to(store.root)), size_of(path), (path,)) for path in left]


def _put_away(store: Library, path: Path) -> None:
    """Take something out of sight in one step: a file is deleted, a folder renamed until it is."""
    if path.name.startswith(GONE):
        return
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    store.trash_folder.mkdir(exist_ok=True)
    durable.move(path, store.trash_folder / f"{GONE}{path.name}-{secrets.token_hex(4)}")


def _gone(store: Library) -> list[Path]:
    return [folder for folder in _folders(store.trash_folder) if folder.name.startswith(GONE)]


def _drafts(folder: Path) -> list[Path]:
    late = time.time() - DRAFT_S
    found = [path for path in _files(folder) if path.name.startswith(".") and path.name.endswith(".tmp")]
    return [path for path in found if path.lstat().st_mtime < late]


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(path for path in sorted(folder.iterdir()) if not path.is_dir()) if folder.is_dir() else ()


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
