"""The SQLite index over ``run.json`` and ``label.json``: fast to list and look up, rebuilt at any time.

Writers use WAL, a 30 s time-out and ``BEGIN IMMEDIATE``; deferred transactions fail under 8 writers.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0
VERSION = 4
COLUMNS = ("id", "name", "stamp", "finished", "key", "operation", "kind", "listing", "record")
_TYPES = {column: int if column == "finished" else str for column in COLUMNS} | {"crc": int}
_PUT = f"INSERT OR REPLACE INTO runs VALUES ({', '.join(f':{column}' for column in _TYPES)})"

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
        self._path = path
        self._file: os.stat_result | None = None
        with contextlib.suppress(FileNotFoundError):  # before it is opened: what replaces it in between must show
            self._file = os.stat(path)
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
            if self._connection.in_transaction:  # a full disk has ended it already
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
                self._connection.execute(_PUT, row | {"crc": _crc(row)})
            self._connection.executemany("DELETE FROM runs WHERE id = ?", lost)

    def stamps(self) -> dict[str, str | None]:
        """For every id, the stamp of the label that the row tells of; None where the run is not finished."""
        return dict(self._connection.execute("SELECT id, CASE finished WHEN 1 THEN stamp END FROM runs").fetchall())

    def names(self) -> dict[str, str]:
        """The present name of every run by id, oldest first.

        Raises:
            sqlite3.DatabaseError: if one is no text.
        """
        found = dict(self._connection.execute("SELECT id, name FROM runs ORDER BY id").fetchall())
        if not all(isinstance(name, str) for name in found.values()):
            raise sqlite3.DatabaseError("a name in the catalog was altered")
        return found

    def rows(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> list[Row]:
        """Rows in the order of their ids, which is the order of their beginnings.

        Raises:
            sqlite3.DatabaseError: if one is not as it was put.
        """
        query = f"SELECT {', '.join(_TYPES)} FROM runs WHERE {where} ORDER BY id"
        rows = [dict(zip(_TYPES, values)) for values in self._connection.execute(query, arguments)]
        for row in rows:
            if row.pop("crc") != _crc(row):
                raise sqlite3.DatabaseError(f"the catalog's row of {row['id']} was altered")
        return rows

    def clear(self) -> None:
        """Forget every row.

        Raises:
            sqlite3.OperationalError: as :meth:`writing`.
        """
        with self.writing():
            self._connection.execute("DELETE FROM runs")

    def is_current(self) -> bool:
        """Whether the file that is open is the one at the path: another process may have replaced it."""
        if self._file is None:
            return True
        try:
            return os.path.samestat(os.stat(self._path), self._file)
        except OSError:
            return False

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _make_tables(connection: sqlite3.Connection) -> None:
    # Imported here alone, since it brings pandas along where that is installed: a look at a store must not wait for it.
    from sqlite_utils import Database

    database = Database(connection)
    database.table("runs").create(_TYPES, pk="id", not_null=set(_TYPES) - {"id"})
    database.table("runs").create_index(["key"])
    database.table("runs").create_index(["name"])
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _crc(row: Row) -> int:
    return zlib.crc32("\0".join(str(row[column]) for column in COLUMNS).encode())
