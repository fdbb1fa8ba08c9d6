"""The runs that are in a store: looked up, listed and labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import Damaged, UsageError
from rashomon_cli.store import records, root
from rashomon_cli.store.catalog import Row
from rashomon_cli.store.index import Index
from rashomon_cli.store.locks import is_locked
from rashomon_cli.store.names import check_name, find_id
from rashomon_cli.store.records import Label, RunRecord
from rashomon_cli.store.rows import DAMAGED, FINISHED, label_of, read_record
from rashomon_cli.store.run import Run


class Library:
    """A folder of runs with an index over them.

    Attributes:
        root: the folder; it is made with the first run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._index = Index(root)
        self._made: list[Path] | None = None  # folders that this process made for the store

    @property
    def runs_folder(self) -> Path:
        """Where run folders lie."""
        return self.root / "runs"

    @property
    def trash_folder(self) -> Path:
        """Where removed run folders lie."""
        return self.root / "trash"

    @property
    def stages_folder(self) -> Path:
        """Where computations lie that several runs share."""
        return self.root / "stages"

    @contextmanager
    def writing(self) -> Iterator[Index]:
        """Keep other processes from beginning, naming, moving and removing runs for the length of a block.

        Yields:
            The catalog.

        Raises:
            OSError: if the disk refuses.
        """
        with root.writing(self.root) as made:
            if made is not None:
                self._made = made
                self._index.close()
            yield self._index

    def find(self, reference: str) -> Run:
        """Look up a finished run by name, id or unique prefix of an id.

        Raises:
            UsageError: if none or several match, or the run is unfinished.
            Damaged: if its record or label cannot be read.
        """
        return self._run(self.finished_row(reference))

    def finished_row(self, reference: str) -> Row:
        """The row of a run by name, id or unique prefix of an id; it may be damaged.

        Raises:
            UsageError: if none or several match, or the run is unfinished.
        """
        row = self.row(reference)
        if row["status"] in ("running", "interrupted"):
            hint = "run the same command again to resume it"
            raise UsageError(f"run {reference} is {row['status']}, not finished", hint)
        return row

    def row(self, reference: str) -> Row:
        """The row of a run by name, id or unique prefix of an id, in whatever state it is.

        Raises:
            UsageError: if none or several match.
        """
        row = self._index.settled(reference)
        return self.pick([reference])[0] if row is None else row | {"status": "finished"}

    def pick(self, references: Sequence[str]) -> list[Row]:
        """The rows of runs, each once, in the order in which they were named.

        Raises:
            UsageError: if none or several match a reference.
        """
        names = self.names()
        ids = tuple(dict.fromkeys(find_id(reference, names) for reference in references))
        rows = {row["id"]: row for row in self.rows(f"id IN ({', '.join('?' * len(ids))})", ids)}
        return [rows[run] for run in ids if run in rows]

    def runs(self) -> Iterator[Run]:
        """All finished runs as the catalog knows them, oldest first; their files are not opened.

        Raises:
            Damaged: if a record is of a newer version.
        """
        for row in self.rows("finished = 1"):
            try:
                record = RunRecord.model_validate_json(row["record"])
                label = Label(name=row["name"], tags=row["tags"])
            except ValueError:
                yield self._run(row)
            else:
                yield Run(self.runs_folder / row["id"], record, label)

    def names(self) -> dict[str, str]:
        """The present name of every run by id, oldest first."""
        return self._index.names()

    def rows(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> list[Row]:
        """The catalog's rows, oldest first, with the derived ``status`` beside.

        Args:
            where: a condition in SQL.
            arguments: of the condition.

        Returns:
            Values by column: ``id``, ``name``, ``tags``, ``finished``, ``key``, ``operation``, ``kind``, ``parents``,
            ``metrics``, ``files``, ``record`` (the text of ``run.json``), ``status``.
        """
        found = self._index.rows(where, arguments)
        for row in found:
            row["status"] = "finished" if row["finished"] == FINISHED else self._status(row)
        return found

    def _status(self, row: Row) -> str:
        """``damaged``, ``running`` or ``interrupted`` of a run that is not finished; nothing of it is stored."""
        if row["finished"] == DAMAGED:
            return "damaged"
        return "running" if is_locked(self.runs_folder / row["id"]) else "interrupted"

    def rename(self, reference: str, name: str) -> Run:
        """Give a run another name; no hash changes.

        Raises:
            UsageError: if there is no such run, or the name is invalid or taken.
            Damaged: if its record cannot be read.
        """
        check_name(name)
        with self.writing():
            row = self.finished_row(reference)
            if any(other == name and run != row["id"] for run, other in self.names().items()):
                raise UsageError(f"the name {name!r} is taken", f"rashomon show {name}")
            self._relabel(row, name=name)
        return self.find(row["id"])

    def tag(self, reference: str, tags: Sequence[str], *, remove: bool = False) -> Run:
        """Give a run tags, or take them away; no hash changes.

        Raises:
            UsageError: if there is no such run, or a tag is invalid, or one to take away is not there.
            Damaged: if its record or label cannot be read.
        """
        for tag in tags:
            check_name(tag, "tag")
        with self.writing():
            run = self.find(reference)
            held = run.label.tags
            if remove and (missing := [tag for tag in tags if tag not in held]):
                raise UsageError(f"run {run.name} has no tag {missing[0]!r}", f"rashomon show {run.name}")
            kept = [tag for tag in held if tag not in tags] if remove else list(dict.fromkeys([*held, *tags]))
            self._relabel(self.row(run.id), tags=kept)
        return self.find(run.id)

    def _relabel(self, row: Row, **changes: Any) -> None:
        path = self.runs_folder / row["id"] / "label.json"
        try:
            label = records.read(path, Label)
        except (Damaged, FileNotFoundError):
            label = Label(name=row["name"], tags=row["tags"])
        records.write(path, label.model_copy(update=changes))
        self._index.refresh(row["id"])

    def reindex(self) -> int:
        """Rebuild the catalog from the run folders, and the store's marker.

        Returns:
            The number of runs found, finished or not.
        """
        with self.writing():
            root.write_marker(self.root)
            return len(self._index.rebuild().names())

    def _run(self, row: Row) -> Run:
        folder = self.runs_folder / row["id"]
        try:
            return Run(folder, read_record(folder), label_of(folder))
        except FileNotFoundError:
            hint = f"restore the folder from a copy, or rashomon rm {row['id']}"
            raise Damaged(f"run.json of run {row['name']} is missing", hint) from None
