"""A store: a folder of runs. See DESIGN in README.md for its layout and the order in which files appear."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ulid import ULID

from rashomon_cli.core.errors import Busy, Damaged, NoStore, UsageError
from rashomon_cli.store import durable
from rashomon_cli.store.cache import FolderCache
from rashomon_cli.store.catalog import DAMAGED, Catalog, row_of
from rashomon_cli.store.index import Index, label_of
from rashomon_cli.store.job import Job
from rashomon_cli.store.locks import FolderLock, is_locked, locked
from rashomon_cli.store.parts import Stage
from rashomon_cli.store.records import Label, Parent, Request, RunRecord, read
from rashomon_cli.store.run import Run

FORMAT_VERSION = 1
DEFAULT = "rashomon-store"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}$")


class Store:
    """A folder of runs with an index over them.

    Attributes:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._index = Index(root)

    @classmethod
    def open(cls, root: str | Path | None = None, *, create: bool = False) -> Store:
        """Open a store.

        Args:
            root: its folder; ``RASHOMON_STORE`` or ``./rashomon-store`` where None.
            create: make it where it does not exist.

        Returns:
            The store.

        Raises:
            NoStore: if there is none and ``create`` is False.
            Damaged: if it was made by a newer version.
        """
        folder = Path(root or os.environ.get("RASHOMON_STORE") or DEFAULT)
        marker = folder / "store.json"
        if not marker.exists():
            if not create:
                hint = "rashomon train --seed 1 makes one; --store or RASHOMON_STORE names another"
                raise NoStore(f"no store at {folder}", hint)
            if folder.exists() and any(folder.iterdir()) and not (folder / "runs").is_dir():
                raise NoStore(f"{folder} is no store and not empty", "name another folder with --store")
            (folder / "runs").mkdir(parents=True, exist_ok=True)
            durable.write_json(marker, {"format": "rashomon-store", "version": FORMAT_VERSION})
        version = durable.read_json(marker).get("version", 0)
        if version > FORMAT_VERSION:
            raise Damaged(f"the store {folder} has format {version}, this version reads up to {FORMAT_VERSION}")
        return cls(folder)

    @property
    def runs_folder(self) -> Path:
        """Where run folders lie."""
        return self.root / "runs"

    @property
    def cache(self) -> FolderCache:
        """Arrays that may be deleted at any time."""
        return FolderCache(self.root / "cache")

    def stage(self, recipe: Mapping[str, Any]) -> Stage:
        """The locked folder of a computation that several runs share, such as an L1 training cut at several thresholds.

        Args:
            recipe: JSON values that determine the computation.

        Returns:
            Its parts, whoever saved them.

        Raises:
            Busy: if another process works on it.
        """
        text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
        folder = self.root / "stages" / hashlib.sha256(text.encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock.seize(folder)
        if lock is None:
            raise Busy("another process computes the same stage", "wait for it to end, then run the same command")
        if not (folder / "recipe.json").exists():
            durable.write_json(folder / "recipe.json", dict(recipe))
        return Stage(folder, lock)

    def begin(
        self,
        operation: str,
        config: Mapping[str, Any],
        *,
        parents: Sequence[Parent] = (),
        fingerprints: Mapping[str, str] | None = None,
        name: str | None = None,
        suggestion: str = "run",
        again: bool = False,
    ) -> Run | Job:
        """Find the run of a request, or start or resume it.

        Args:
            operation: the operation's name.
            config: resolved options, JSON values.
            parents: the runs that it reads.
            fingerprints: digests of what else the result depends on.
            name: the name asked for, or None.
            suggestion: a name to make a free one from, where none was asked for.
            again: make a new run even where a finished one exists.

        Returns:
            The finished run, or a locked job.

        Raises:
            Busy: if another process carries out the same request.
            UsageError: if the name is no valid name or taken by another request.
        """
        request = Request(
            operation=operation, config=dict(config), parents=list(parents), fingerprints=dict(fingerprints or {})
        )
        if name is not None:
            check_name(name)
        with locked(self.runs_folder):
            catalog = self._index.look()
            same = catalog.rows("key = ?", (request.key,))
            finished = [row for row in same if row["finished"]]
            if finished and not again:
                return self._run(finished[-1])
            unfinished = [row for row in same if not row["finished"]]
            for row in unfinished:
                folder = self.runs_folder / row["id"]
                lock = FolderLock.seize(folder)
                if lock is None:
                    raise Busy(f"run {row['name']} is being carried out by another process", "wait for it to end")
                if (folder / "run.json").exists():  # published since the catalog was read
                    lock.release()
                    if again:
                        continue
                    return self._run(row)
                return Job(folder, request, label_of(folder), lock, self._published, resumed=True)
            if name is not None:
                self._set_aside(catalog, name)
            taken = {row["name"] for row in catalog.rows()}
            if name in taken:
                raise UsageError(
                    f"the name {name!r} is taken by another request", "choose another --name, or rashomon rename it"
                )
            label = Label(name=name or _free(suggestion, taken))
            folder = self.runs_folder / str(ULID())
            folder.mkdir()
            lock = FolderLock.take(folder, wait=True)
            assert lock is not None
            durable.write_json(folder / "request.json", request.model_dump(mode="json"))
            durable.write_json(folder / "label.json", label.model_dump(mode="json"))
            durable.sync_folder(self.runs_folder)
            catalog.put([row_of(folder.name, label.name, request, None)])
            return Job(folder, request, label, lock, self._published, resumed=False)

    def find(self, reference: str) -> Run:
        """Look up a run by name, id or unique prefix of an id.

        Raises:
            UsageError: if none or several match, or the run is unfinished.
        """
        catalog = self._index.look()
        rows = catalog.rows("name = ? OR id = ?", (reference, reference.upper()))
        if not rows and len(reference) >= 4:
            rows = catalog.rows("id GLOB ?", (re.sub(r"[^0-9A-Z]", "?", reference.upper()) + "*",))
        if not rows:
            names = [row["name"] for row in catalog.rows()]
            near = difflib.get_close_matches(reference, names, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "rashomon ls"
            raise UsageError(f"no run {reference!r} in {self.root}", hint)
        if len(rows) > 1:
            candidates = ", ".join(f"{row['id']} ({row['name']})" for row in rows[:8])
            raise UsageError(f"{reference!r} is ambiguous: {candidates}", f"rashomon show {rows[0]['id']}")
        if not rows[0]["finished"]:
            hint = "run the same command again to resume it"
            raise UsageError(f"run {reference} is {self.status(rows[0]['id'])}, not finished", hint)
        return self._run(rows[0])

    def runs(self) -> Iterator[Run]:
        """All finished runs as the catalog knows them, oldest first; their ``run.json`` files are not opened.

        Raises:
            Damaged: if a record is of a newer version.
        """
        for row in self._index.look().rows("finished = 1"):
            folder = self.runs_folder / row["id"]
            try:
                record = RunRecord.model_validate_json(row["record"])
            except ValidationError:
                record = self._run(row).record
            yield Run(folder, record, label_of(folder))

    def names(self) -> dict[str, str]:
        """The present name of every run, by id."""
        return {row["id"]: row["name"] for row in self._index.look().rows()}

    def rows(self) -> list[dict[str, Any]]:
        """The catalog's rows, with the derived status beside."""
        return [row | {"status": self.status(row["id"], row["finished"])} for row in self._index.look().rows()]

    def status(self, run_id: str, finished: int = 0) -> str:
        """``finished``, ``damaged``, ``running`` or ``interrupted``; nothing of it is stored."""
        if finished == DAMAGED:
            return "damaged"
        if finished:
            return "finished"
        return "running" if is_locked(self.runs_folder / run_id) else "interrupted"

    def rename(self, reference: str, name: str) -> Run:
        """Give a run another name; no hash changes.

        Raises:
            UsageError: if there is no such run, or the name is invalid or taken.
        """
        check_name(name)
        run = self.find(reference)
        with locked(self.runs_folder):
            catalog = self._index.look()
            if any(row["id"] != run.id for row in catalog.rows("name = ?", (name,))):
                raise UsageError(f"the name {name!r} is taken", f"rashomon show {name}")
            self._relabel(catalog, run.folder, name)
        return self.find(run.id)

    def _relabel(self, catalog: Catalog, folder: Path, name: str) -> None:
        catalog.mark_stale(folder.name)
        label = label_of(folder).model_copy(update={"name": name})
        durable.write_json(folder / "label.json", label.model_dump(mode="json"))
        catalog.mark_stale(folder.name)  # a reader may have settled the row in between, with the old name
        self._index.look()

    def _set_aside(self, catalog: Catalog, name: str) -> None:
        """Free a name that an interrupted run holds: another request may have it, and the run can still be resumed."""
        for row in catalog.rows("name = ?", (name,)):
            if self.status(row["id"], row["finished"]) == "interrupted":
                taken = {each["name"] for each in catalog.rows()}
                self._relabel(catalog, self.runs_folder / row["id"], _free(f"{name}-interrupted", taken))

    def reindex(self) -> int:
        """Rebuild the catalog from the run folders.

        Returns:
            The number of runs found, finished or not.
        """
        with locked(self.runs_folder):
            return len(self._index.rebuild().ids())

    def _run(self, row: Mapping[str, Any]) -> Run:
        folder = self.runs_folder / row["id"]
        if not (folder / "run.json").exists():
            raise Damaged(f"run.json of run {row['name']} is missing", "restore the folder from a copy")
        return Run(folder, read(folder / "run.json", RunRecord), label_of(folder))

    def _published(self, run: Run) -> None:
        self._index.look().put([row_of(run.id, run.name, None, run.record)])


def check_name(name: str) -> None:
    """Refuse what cannot be a run's name.

    Raises:
        UsageError: if it has other characters than letters, digits and ``. _ + = -``, or is too long.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a name: letters, digits and . _ + = - only, 120 at most", "for example a-s1"
        )


def _free(suggestion: str, taken: set[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9._+=-]+", "-", suggestion).strip("._+=-")[:100] or "run"
    if base not in taken:
        return base
    return next(f"{base}-{n}" for n in range(2, len(taken) + 3) if f"{base}-{n}" not in taken)
