"""The SQLite index over ``run.json`` and ``label.json``: fast to list and look up, rebuilt at any time.

Writers use WAL, a 30 s time-out and ``BEGIN IMMEDIATE``; sqlite-utils' own deferred transactions fail under 8 writers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

TIMEOUT_S = 30.0
VERSION = 1
DAMAGED = 2  # in the column ``finished``, where 0 is unfinished and 1 finished
_COLUMNS = {
    "id": str,
    "name": str,
    "finished": int,
    "key": str,
    "operation": str,
    "kind": str,
    "started": str,
    "metrics": str,
    "record": str,
}


class Catalog:
    """One row per run folder, finished or not.

    Args:
        path: the database file, or ``":memory:"`` where the store cannot be written.

    Raises:
        sqlite3.DatabaseError: if it is no database or of another version; then it can be made anew.
    """

    def __init__(self, path: Path | str) -> None:
        connection = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None)
        self._db = Database(connection)
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal" and path != ":memory:":
            connection.execute("PRAGMA journal_mode=WAL")
        made = {"runs", "stale"} <= set(self._db.table_names())
        if made and connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            connection.close()
            raise sqlite3.DatabaseError("the catalog is of another version")
        if not made:
            with self.writing():
                connection.execute(f"PRAGMA user_version = {VERSION}")
                self._db.table("runs").create(_COLUMNS, pk="id", if_not_exists=True)
                self._db.table("runs").create_index(["name"], if_not_exists=True)
                self._db.table("runs").create_index(["key"], if_not_exists=True)
                self._db.table("stale").create({"id": str}, pk="id", if_not_exists=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One write transaction that waits its turn.

        Raises:
            sqlite3.OperationalError: if the database stays locked for 30 s or cannot be written.
        """
        connection = self._db.conn
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def put(self, rows: Iterable[dict[str, Any]], gone: Iterable[str] = ()) -> None:
        """Insert or replace rows, and delete others, in one transaction.

        Raises:
            sqlite3.OperationalError: as :meth:`writing`.
        """
        rows, gone = list(rows), list(gone)
        statement = (
            f"INSERT OR REPLACE INTO runs ({', '.join(_COLUMNS)}) VALUES ({', '.join(':' + c for c in _COLUMNS)})"
        )
        with self.writing():
            self._db.conn.executemany(statement, rows)
            done = [(row["id"],) for row in rows] + [(run,) for run in gone]
            self._db.conn.executemany("DELETE FROM stale WHERE id = ?", done)
            self._db.conn.executemany("DELETE FROM runs WHERE id = ?", [(run,) for run in gone])

    def mark_stale(self, run: str) -> None:
        """Note that a run's files are about to change, so that a crash in between heals.

        Raises:
            sqlite3.OperationalError: as :meth:`writing`.
        """
        with self.writing():
            self._db.conn.execute("INSERT OR REPLACE INTO stale (id) VALUES (?)", (run,))

    def settled(self) -> set[str]:
        """Ids whose row is known to be right: finished and not marked."""
        query = "SELECT id FROM runs WHERE finished = 1 AND id NOT IN (SELECT id FROM stale)"
        return {row[0] for row in self._db.conn.execute(query)}

    def ids(self) -> set[str]:
        """Ids of all rows."""
        return {row[0] for row in self._db.conn.execute("SELECT id FROM runs")}

    def rows(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """Rows in the order of their ids, which is the order of their beginnings."""
        return list(self._db.query(f"SELECT * FROM runs WHERE {where} ORDER BY id", arguments))

    def clear(self) -> None:
        """Forget every row.

        Raises:
            sqlite3.OperationalError: as :meth:`writing`.
        """
        with self.writing():
            self._db.conn.execute("DELETE FROM runs")
            self._db.conn.execute("DELETE FROM stale")

    def close(self) -> None:
        """Close the connection."""
        self._db.conn.close()


def row_of(run_id: str, name: str, request: Any, record: Any | None, *, damaged: bool = False) -> dict[str, Any]:
    """The catalog's row of a run folder.

    Args:
        run_id: the ULID.
        name: present name.
        request: the :class:`Request`, or None where it could not be read.
        record: the :class:`RunRecord`, or None while unfinished.
        damaged: whether there is a ``run.json`` that cannot be read.

    Returns:
        Values by column.
    """
    return {
        "id": run_id,
        "name": name,
        "finished": DAMAGED if damaged else int(record is not None),
        "key": record.key if record else (request.key if request else ""),
        "operation": record.operation if record else (request.operation if request else ""),
        "kind": record.kind if record else "",
        "started": record.started if record else "",
        "metrics": json.dumps(record.metrics if record else {}),
        "record": record.model_dump_json() if record else "",
    }
