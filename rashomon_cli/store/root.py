"""The folder of a store: how it is recognised, made with the first run, and taken back where that was refused."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rashomon_cli.core.errors import Damaged, NoStore
from rashomon_cli.store import durable
from rashomon_cli.store.folders import is_draft, names_in, present_runs
from rashomon_cli.store.locks import FolderLock, locked

FORMAT_VERSION = 1
MARKER = "store.json"
_FORMAT = "rashomon-store"
_CATALOG = {"catalog.db", "catalog.db-wal", "catalog.db-shm"}
_BARE = {MARKER, "runs", "cache"} | _CATALOG
OWN = _BARE | {"trash", "stages"}
"""What may lie in a store's folder."""
_TRIES = 100
_PAUSE_S = 0.005


def check(root: Path, *, create: bool, mend: bool) -> None:
    """Refuse what is no store, before anything is written.

    Args:
        root: the folder.
        create: whether it may be missing or empty.
        mend: whether its marker may be missing or damaged.

    Raises:
        NoStore: if it is none.
        Damaged: if its marker is missing, cannot be read, or is of a newer version.
    """
    if _has_signs(root, mend=mend):
        try:
            version = version_of(root)
        except Damaged:
            if not mend and _has_signs(root, mend=mend):  # else it was just taken back
                raise
        else:
            if version > FORMAT_VERSION:
                words = f"the store {root} has format {version}, this version reads up to {FORMAT_VERSION}"
                raise Damaged(words, "upgrade rashomon-cli")
    elif not create:
        hint = "rashomon train --seed 1 makes one; --store or RASHOMON_STORE names another"
        raise NoStore(f"no store at {root}", hint)
    elif _is_occupied(root) and not (root / MARKER).exists():  # else it has just been made
        raise NoStore(f"{root} is no store and not empty", "name another folder with --store")


def version_of(root: Path) -> int:
    """The format's version in a store's marker.

    Raises:
        Damaged: if it is missing or cannot be read.
    """
    hint = "rashomon reindex writes it anew"
    try:
        found = durable.read_json(root / MARKER)
    except FileNotFoundError:
        raise Damaged(f"{MARKER} of {root.name} is missing", hint) from None
    except Damaged as error:
        raise Damaged(error.message, hint) from None
    version = found.get("version") if isinstance(found, dict) and found.get("format") == _FORMAT else None
    if not isinstance(version, int) or version < 1:
        raise Damaged(f"{MARKER} of {root.name} is that of no store", hint)
    return version


def write_marker(root: Path) -> None:
    """Write a store's marker.

    Raises:
        OSError: if the disk refuses.
    """
    durable.write_json(root / MARKER, {"format": _FORMAT, "version": FORMAT_VERSION})


def make(root: Path) -> list[Path] | None:
    """Make a store's folder where there is none; many processes may do so at once.

    Args:
        root: the folder.

    Returns:
        The folders that were made for it, innermost first; None where it was a store already.

    Raises:
        OSError: if the disk refuses.
        FileNotFoundError: if another process takes it back at this moment.
    """
    if (root / MARKER).exists() and (root / "runs").is_dir():
        return None
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        new = not (root / MARKER).exists()
        if new:
            write_marker(root)
        (root / "runs").mkdir(exist_ok=True)
        durable.sync_folder(root)
    return missing if new else None


def take_back(root: Path, made: list[Path]) -> None:
    """Remove a store in which there is nothing but what can be made again; harmless where another run is in it.

    Args:
        root: the folder.
        made: what :func:`make` returned.
    """
    with contextlib.suppress(OSError):
        lock = FolderLock.take(root / "runs", wait=False)
        if lock is None:
            return
        try:
            with locked(root):
                if not {path.name for path in root.iterdir()} <= _BARE:
                    return
                (root / "runs").rmdir()
                for name in _CATALOG:
                    (root / name).unlink(missing_ok=True)
                shutil.rmtree(root / "cache", ignore_errors=True)
                (root / MARKER).unlink()
                for folder in made:
                    folder.rmdir()
        finally:
            lock.release()


@contextmanager
def writing(root: Path) -> Iterator[list[Path] | None]:
    """The lock on a store's runs, for the length of a block; the store is made where there is none.

    Yields:
        What :func:`make` returned.

    Raises:
        OSError: if the disk refuses.
    """
    made, lock = _made_and_locked(root)
    try:
        yield made
    finally:
        lock.release()


def _made_and_locked(root: Path) -> tuple[list[Path] | None, FolderLock]:
    """Make a store and lock its runs, as often as another process takes it back in between.

    Raises:
        OSError: if the disk refuses.
        FileNotFoundError: if it never lasts, as where the working directory was deleted.
    """
    tries = 0
    while True:
        try:
            made = make(root)
            lock = FolderLock.take(root / "runs", wait=True)
            assert lock is not None
        except FileNotFoundError:
            tries += 1
            if tries == _TRIES:
                raise
            time.sleep(_PAUSE_S)
        else:
            return made, lock


def _has_signs(root: Path, *, mend: bool) -> bool:
    """Whether a folder is or was a store; where one is to be mended, an empty one has no runs to tell by."""
    places = (root / "runs", root / "trash")
    return (root / MARKER).exists() or any(present_runs(place) or (mend and place.is_dir()) for place in places)


def _is_occupied(root: Path) -> bool:
    """Whether there is a file, or a folder that holds anything which is not of a store without runs."""
    if root.exists() and not root.is_dir():
        return True
    return bool(names_in(root / "runs")) or any(name not in OWN and not is_draft(name) for name in names_in(root))
