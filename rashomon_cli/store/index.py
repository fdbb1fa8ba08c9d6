"""The catalog kept in line with the run folders: whatever a crash left behind heals at the next look."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rashomon_cli.store.catalog import Catalog, OtherVersion, Row
from rashomon_cli.store.folders import is_blank, present_runs
from rashomon_cli.store.locks import locked
from rashomon_cli.store.records import Label
from rashomon_cli.store.rows import FINISHED, parsed, row_of_folder, stamp_of

T = TypeVar("T")
_OUT_OF_REACH = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}


class Index:
    """The catalog of a store, opened on the first look and rebuilt where it cannot be read.

    Args:
        root: the store's folder; while it does not exist, there is nothing in the catalog and none is made.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._runs = root / "runs"
        self._path = root / "catalog.db"
        self._catalog: Catalog | None = None

    def look(self) -> Catalog:
        """The catalog, brought in line with the folders."""
        return self._sound(lambda catalog: catalog)

    def rows(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> list[Row]:
        """Parsed rows of the catalog in the order of their ids, once it is in line with the folders."""
        return self._sound(lambda catalog: [parsed(row) for row in catalog.rows(where, arguments)])

    def settled(self, reference: str) -> Row | None:
        """The parsed row of a finished run by name or id, where its label is as the row has it.

        Quick, since it looks at no other folder; None wherever :meth:`rows` must tell.
        """
        try:
            found = self._open().rows("name = ? OR id = ?", (reference, reference.upper()))
        except sqlite3.DatabaseError:
            return None
        if len(found) != 1 or found[0]["finished"] != FINISHED:
            return None
        stamp = stamp_of(self._runs / found[0]["id"])
        return parsed(found[0]) if stamp and stamp == found[0]["stamp"] else None

    def names(self) -> dict[str, str]:
        """The present name of every run by id, once the catalog is in line with the folders."""
        return self._sound(lambda catalog: catalog.names())

    def refresh(self, *runs: str) -> None:
        """Read run folders again that have just been written."""
        self._sound(lambda catalog: self._update(catalog, runs))

    def forget(self, *runs: str) -> None:
        """Delete rows of runs that are about to be moved away."""
        self._sound(lambda catalog: catalog.put((), runs))

    def rebuild(self) -> Catalog:
        """Forget every row and read all run folders again; the caller holds the lock on them."""

        def forget(catalog: Catalog) -> Catalog:
            catalog.clear()
            return catalog

        self._sound(forget)
        return self.look()

    def close(self) -> None:
        """Close the database; the next look opens it again."""
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None

    def _sound(self, use: Callable[[Catalog], T]) -> T:
        """What is made of the catalog, which is replaced where it turns out to be broken or out of reach."""
        try:
            return use(self._reconcile())
        except sqlite3.DatabaseError as error:
            self.close()
            out_of_reach = getattr(error, "sqlite_errorcode", 0) & 0xFF in _OUT_OF_REACH
            self._catalog = Catalog.in_memory() if out_of_reach else self._renewed(broken=True)
        try:
            return use(self._reconcile())
        except sqlite3.DatabaseError:  # the new one cannot be filled
            self.close()
            self._catalog = Catalog.in_memory()
        return use(self._reconcile())

    def _open(self) -> Catalog:
        if self._catalog is not None and not self._catalog.is_current():
            self.close()
        if self._catalog is None:
            if not self._runs.is_dir():
                return Catalog.in_memory()
            try:
                self._catalog = Catalog(self._path)
            except OtherVersion:
                self._catalog = self._renewed(broken=False)
        return self._catalog

    def _renewed(self, *, broken: bool) -> Catalog:
        """An empty database in the place of a missing, broken or older one; in memory where none can be written.

        Args:
            broken: do not look whether another process has replaced it while this one waited.
        """
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            with locked(self._root):
                if not broken:
                    with contextlib.suppress(OtherVersion):
                        return Catalog(self._path)
                Catalog.create(beside)
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                os.replace(beside, self._path)
                return Catalog(self._path)
        except (sqlite3.OperationalError, OSError):
            beside.unlink(missing_ok=True)
            return Catalog.in_memory()

    def _reconcile(self) -> Catalog:
        catalog = self._open()
        stamps = catalog.stamps()  # before the folders: a run begun in between must not look like one that is gone
        present = present_runs(self._runs)
        changed = [run for run in sorted(present) if self._has_changed(catalog, run, stamps)]
        gone = stamps.keys() - present
        if changed or gone:
            self._update(catalog, changed, gone)
        return catalog

    def _has_changed(self, catalog: Catalog, run: str, stamps: Mapping[str, str | None]) -> bool:
        if run not in stamps:  # and of no interest before anything is written in it
            return not is_blank(self._runs / run)
        if (known := stamps[run]) is not None:
            return known != stamp_of(f"{self._runs}/{run}")
        row = self._read(catalog, run)
        return row is not None and (row["finished"] == FINISHED or catalog.rows("id = ?", (run,)) != [row])

    def _update(self, catalog: Catalog, runs: Sequence[str], gone: Collection[str] = ()) -> None:
        # Read a second time, within the transaction: a name may have been changed since the first.
        found = (self._read(catalog, run) for run in runs)
        catalog.put((row for row in found if row is not None), gone)

    def _read(self, catalog: Catalog, run: str) -> Row | None:
        """The row of a run folder; what its label said last where that is lost."""
        known = [parsed(row) for row in catalog.rows("id = ?", (run,))]
        label = Label(name=known[0]["name"], tags=known[0]["tags"]) if known else None
        return row_of_folder(self._runs / run, label)
