"""The catalog kept in line with the run folders: whatever a crash left behind heals at the next look."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store.catalog import Catalog, row_of
from rashomon_cli.store.records import Label, Request, RunRecord, read


class Index:
    """The catalog of a store, opened on the first look and rebuilt where it cannot be read.

    Args:
        root: the store's folder.
    """

    def __init__(self, root: Path) -> None:
        self._runs = root / "runs"
        self._path = root / "catalog.db"
        self._catalog: Catalog | None = None

    def look(self) -> Catalog:
        """The catalog, brought in line with the folders."""
        try:
            return self._reconcile()
        except sqlite3.OperationalError:
            # Locked for too long, or a folder that cannot be written: an index of this process's own.
            self._catalog = Catalog(":memory:")
        except sqlite3.DatabaseError:
            self._discard()
        return self._reconcile()

    def rebuild(self) -> Catalog:
        """Forget every row and read all run folders again; the caller holds the lock on them."""
        try:
            self._open().clear()
        except sqlite3.OperationalError:
            self._catalog = Catalog(":memory:")
        except sqlite3.DatabaseError:
            self._discard()
        return self.look()

    def _open(self) -> Catalog:
        if self._catalog is None:
            self._catalog = Catalog(self._path)
        return self._catalog

    def _discard(self) -> None:
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _reconcile(self) -> Catalog:
        catalog = self._open()
        known = catalog.ids()  # before the folders are read: a run begun in between must not look like one that is gone
        present = {entry.name for entry in os.scandir(self._runs) if entry.is_dir() and not entry.name.startswith(".")}
        rows = [row for run in sorted(present - catalog.settled()) if (row := self._row(run)) is not None]
        changed = [row for row in rows if row["finished"] == 1 or catalog.rows("id = ?", (row["id"],)) != [row]]
        if changed or known - present:
            catalog.put(changed, known - present)
        return catalog

    def _row(self, run_id: str) -> dict[str, Any] | None:
        folder = self._runs / run_id
        published = (folder / "run.json").exists()
        try:
            if published:
                return row_of(run_id, label_of(folder).name, None, read(folder / "run.json", RunRecord))
        except FileNotFoundError:
            return None
        except Damaged:
            pass
        try:
            request = read(folder / "request.json", Request)
        except (FileNotFoundError, Damaged):
            if not published:
                return None
            request = None
        try:
            name = label_of(folder).name
        except Damaged:
            name = run_id
        return row_of(run_id, name, request, None, damaged=published)


def label_of(folder: Path) -> Label:
    """The name and tags of a run folder; its id is its name where no label was written.

    Raises:
        Damaged: if the label cannot be read.
    """
    try:
        return read(folder / "label.json", Label)
    except FileNotFoundError:
        return Label(name=folder.name)
