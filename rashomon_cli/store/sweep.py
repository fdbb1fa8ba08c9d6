"""What is deleted for good: the trash, stages that no run needs, what crashes left behind."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rashomon_cli.store.catalog import Row
from rashomon_cli.store.disposal import GONE, destroy, put_away, size_of
from rashomon_cli.store.folders import files_in, folders_in, is_draft, present_runs
from rashomon_cli.store.library import Library
from rashomon_cli.store.locks import FolderLock, is_locked
from rashomon_cli.store.rows import UNFINISHED, parents
from rashomon_cli.store.stages import stages_of
from rashomon_cli.store.trash import trashed

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


@dataclass(frozen=True)
class Spared:
    """Something that was not deleted, though it was to be expected.

    Attributes:
        what: its kind.
        name: of the run, or of the folder or files.
        why: what spares it.
        path: where it is.
    """

    what: What
    name: str
    why: str
    path: Path


@dataclass
class Swept:
    """What became of everything that might go.

    Attributes:
        dropped: what was deleted, or would be.
        spared: what was not.
    """

    dropped: list[Dropped] = field(default_factory=list)
    spared: list[Spared] = field(default_factory=list)


def sweep(store: Library, *, cache: bool = False, interrupted: bool = False, dry_run: bool = False) -> Swept:
    """Delete what nobody needs; a crash in between leaves nothing but folders that go next time.

    Spared are removed runs from which a run of the store was made, so that they can come back.

    Args:
        store: the store.
        cache: delete decoded data and predictions too.
        interrupted: delete unfinished runs too that no process carries out.
        dry_run: only tell.

    Returns:
        What was deleted, or would be, and what was spared.

    Raises:
        OSError: if the store cannot be locked.
    """
    bin_ = _Bin(store, dry_run=dry_run)
    with store.writing() as index:
        rows = store.rows()
        unfinished = [row for row in rows if interrupted and row["status"] == "interrupted"]
        kept = [row for row in rows if not interrupted or row["status"] != "interrupted"]
        left = _leftovers(store, rows)
        if not dry_run:
            index.forget(*(row["id"] for row in unfinished))
        for row in unfinished:
            bin_.drop(_of_run("interrupted run", store.runs_folder, row))
        _drop_trash(store, kept, bin_)
        for path in left:
            bin_.drop(Dropped("leftover", str(path.relative_to(store.root)), size_of(path), (path,)))
        _drop_stages(store, kept, bin_)
    files = tuple(files_in(store.root / "cache")) if cache else ()
    if files:
        # One by one: the folder may be in use.
        name = "1 file" if len(files) == 1 else f"{len(files)} files"
        bin_.drop(Dropped("cache", name, sum(map(size_of, files)), files))
    return bin_.emptied()


class _Bin:
    """Takes things out of sight, and deletes them in the end.

    Args:
        store: the store.
        dry_run: only tell.
    """

    def __init__(self, store: Library, *, dry_run: bool) -> None:
        self._trash = store.trash_folder
        self._dry_run = dry_run
        self._gone: list[tuple[Dropped, list[Path]]] = []
        self._swept = Swept()

    def drop(self, each: Dropped) -> None:
        """Take something out of sight, where the disk lets us."""
        try:
            self._gone.append((each, [] if self._dry_run else [put_away(self._trash, path) for path in each.paths]))
        except OSError as error:
            self.spare(each, f"cannot be deleted: {error.strerror}")

    def spare(self, each: Dropped, why: str) -> None:
        """Note that something stays, and why."""
        self._swept.spared.append(Spared(each.what, each.name, why, each.paths[0]))

    def emptied(self) -> Swept:
        """Delete everything for good, and tell of it."""
        for each, paths in self._gone:
            left = [path for path in paths if not destroy(path)]
            if not left:
                self._swept.dropped.append(each)
            else:
                self.spare(each, f"cannot be deleted as a whole; what is left of it is in {self._trash}")
        return self._swept


def _of_run(what: What, folder: Path, row: Row) -> Dropped:
    return Dropped(what, row["name"], size_of(folder / row["id"]), (folder / row["id"],))


def _drop_trash(store: Library, rows: list[Row], bin_: _Bin) -> None:
    """Drop the trash, without runs that one of the store was made from, and without what these were made from."""
    in_trash = {row["id"]: row for row in trashed(store)}
    why: dict[str, str] = {}
    open_ = list(rows)
    while open_:
        row = open_.pop(0)
        new = [run for run in parents(row) if run in in_trash and run not in why]
        why |= dict.fromkeys(new, f"{row['name']} was made from it")
        open_ += [in_trash[run] for run in new]
    for run, row in in_trash.items():
        removed = _of_run("removed run", store.trash_folder, row)
        if run in why:
            bin_.spare(removed, why[run])
        else:
            bin_.drop(removed)


def _drop_stages(store: Library, rows: list[Row], bin_: _Bin) -> None:
    """Drop stages that no unfinished run needs and no process works on."""
    needed: set[str] = set()
    for row in rows:
        if row["finished"] == UNFINISHED:
            needed |= stages_of(store.runs_folder / row["id"] / "parts")
    for folder in folders_in(store.stages_folder):
        each = Dropped("stage", folder.name[:12], size_of(folder), (folder,))
        if folder.name in needed:
            continue
        if folder.is_symlink():
            bin_.drop(each)
            continue
        try:
            lock = FolderLock.seize(folder)
        except OSError as error:
            bin_.spare(each, f"cannot be deleted: {error.strerror}")
            continue
        if lock is not None:
            bin_.drop(each)
            lock.release()


def _leftovers(store: Library, rows: list[Row]) -> list[Path]:
    """What a process left that was killed while it wrote, published or deleted."""
    left = [folder for folder in folders_in(store.trash_folder) if folder.name.startswith(GONE)]
    left += [*_drafts(store.root), *_drafts(store.root / "cache")]
    states = {row["id"]: row["status"] for row in rows}
    for run in sorted(present_runs(store.runs_folder)):
        folder, status = store.runs_folder / run, states.get(run)
        if status is None and not is_locked(folder):
            left.append(folder)
        elif status == "finished" and folder / "parts" in folders_in(folder):
            left += [*_drafts(folder), folder / "parts"]
        elif status != "running":
            left += [*_drafts(folder), *_drafts(folder / "parts")]
    for folder in folders_in(store.stages_folder):
        left += [] if is_locked(folder) else _drafts(folder)
    return left


def _drafts(folder: Path) -> list[Path]:
    late = time.time() - DRAFT_S
    found = []
    for path in files_in(folder):
        with contextlib.suppress(OSError):  # its writer has just renamed it
            if is_draft(path.name) and path.lstat().st_mtime < late:
                found.append(path)
    return found
