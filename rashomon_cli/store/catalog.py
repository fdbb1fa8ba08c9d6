"""The SQLite index over ``run.json`` and ``label.json``: fast to list and look up, rebuilt at any time.

Writers use WAL, a 30 s time-out and ``BEGIN IMMEDIATE``; deferred transactions fail under 8 writers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0
VERSION = 2
COLUMNS = ("id", "name", "finished", "key", "operation", "kind", "listing", "record")
_TYPES = {column: int if column == "finished" else str for column in COLUMNS}
_PUT = f"INSERT OR REPLACE INTO runs VALUES ({', '.join(f':{column}' for column in COLUMNS)})"

Row = dict[str, Any]


class OtherVersion(sqlite3.DatabaseError):
    """A database that is empty, or that another version of this package made."""


class Catalog:
    """One row per run folder, finished or not; see :mod:`rashomon_cli.store.rows` for what is in it.

    Args:
        path: the database file, which :meth:`create` made.

    Raises:
        OtherVersion: if it is new, or another version made it.
        sqlite3.DatabaseError: if it is no database, or cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._connection = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None)
        try:
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION and path != ":memory:":
                raise OtherVersion(f"the catalog has version {version}, not {VERSION}")
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def create(cls, path: Path) -> None:
        """Make an empty database file.

        Raises:
            sqlite3.OperationalError: if it cannot be written.
        """
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            _make_tables(connection)
        finally:
            connection.close()

    @classmethod
    def in_memory(cls) -> Catalog:
        """An empty catalog of this process's own."""
        catalog = cls(":memory:")
        _make_tables(catalog._connection)
        return catalog

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One write transaction that waits its turn.

        Raises:
            sqlite3.OperationalError: if the database stays locked for 30 s or cannot be written.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def put(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> None:
        """Insert or replace rows, and delete others, in one transaction.

        Args:
            rows: taken one by one within the transaction, so what they are read from is not older than it.
            gone: ids.

        Raises:
            sqlite3.OperationalError: as :meth:`writing`.
        """
        lost = [(run,) for run in gone]
        with self.writing():
            for row in rows:
                self._connection.execute(_PUT, row)
                self._connection.execute("DELETE FROM stale WHERE id = ?", (row["id"],))
            self._connection.executemany("DELETE FROM stale WHERE id = ?", lost)
            self._connection.executemany("DELETE FROM runs WHERE id = ?", lost)

    def mark_stale(self, run: str) -> None:
        """Note that a run's files are about to change, so that a crash in between heals.

        Raises:
            sqlite3.OperationalError: as :meth:`writing`.
        """
        with self.writing():
            self._connection.execute("INSERT OR REPLACE INTO stale VALUES (?)", (run,))

    def settled(self) -> dict[str, bool]:
        """For every id, whether its row is known to be right: finished and not marked."""
        stale = {run for (run,) in self._connection.execute("SELECT id FROM stale")}
        found = self._connection.execute("SELECT id, finished FROM runs")
        return {run: finished == 1 and run not in stale for run, finished in found}

    def names(self) -> dict[str, str]:
        """The present name of every run by id, oldest first."""
        return dict(self._connection.execute("SELECT id, name FROM runs ORDER BY id").fetchall())

    def rows(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> list[Row]:
        """Rows in the order of their ids, which is the order of their beginnings."""
        query = f"SELECT {', '.join(COLUMNS)} FROM runs WHERE {where} ORDER BY id"
        return [dict(zip(COLUMNS, values)) for values in self._connection.execute(query, arguments)]

    def clear(self) -> None:
        """Forget every row.

        Raises:
            sqlite3.OperationalError: as :meth:`writing`.
        """
        with self.writing():
            self._connection.execute("DELETE FROM runs")
            self._connection.execute("DELETE FROM stale")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _make_tables(connection: sqlite3.Connection) -> None:
    # Imported here alone, since it brings pandas along where that is installed: a look at a store must not wait for it.
    from sqlite_utils import Database

    database = Database(connection)
    database.table("runs").create(_TYPES, pk="id", not_null=set(COLUMNS[1:]))
    database.table("runs").create_index(["key"])
    database.table("stale").create({"id": str}, pk="id")
    connection.execute(f"PRAGMA user_version = {VERSION}")
