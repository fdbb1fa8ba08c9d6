"""A store: a folder of runs in which new ones are begun. See README.md for its layout and the order of its files."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from rashomon_cli.core.cache import ArrayCache, NoCache
from rashomon_cli.core.errors import Busy, Damaged, Refused, UsageError
from rashomon_cli.store import durable, records, root
from rashomon_cli.store.catalog import Row
from rashomon_cli.store.job import Job
from rashomon_cli.store.library import Library
from rashomon_cli.store.locks import FolderLock
from rashomon_cli.store.names import check_name, free_name, new_id
from rashomon_cli.store.parts import Parts
from rashomon_cli.store.records import Label, Parent, Request
from rashomon_cli.store.run import Run
from rashomon_cli.store.stages import saved_in

DEFAULT = "rashomon-store"


class Store(Library):
    """A folder of runs, into which operations publish new ones.

    Attributes:
        root: the folder; it is made with the first run.
    """

    @classmethod
    def open(cls, folder: str | Path | None = None, *, create: bool = False, mend: bool = False) -> Store:
        """Open a store; nothing is written.

        Args:
            folder: where it is; ``RASHOMON_STORE`` or ``./rashomon-store`` where None.
            create: it may be missing, and is made with its first run.
            mend: its ``store.json`` may be missing or damaged.

        Returns:
            The store.

        Raises:
            NoStore: if there is none and ``create`` is False.
            Damaged: if its ``store.json`` is damaged, or of a newer version.
        """
        place = Path(folder or os.environ.get("RASHOMON_STORE") or DEFAULT)
        root.check(place, create=create, mend=mend)
        return cls(place)

    @property
    def cache(self) -> ArrayCache:
        """Arrays that may be deleted at any time; nothing is kept before the store's first run."""
        if not self.runs_folder.is_dir():
            return NoCache()
        from rashomon_cli.store.cache import FolderCache

        return FolderCache(self.root / "cache")

    def saved_in_stage(self, recipe: Mapping[str, Any]) -> Parts:
        """What a stage holds, for a look; none where nobody began it. :meth:`Job.stage` opens one to work on.

        Args:
            recipe: JSON values that determine the computation.

        Returns:
            Its parts, not locked.
        """
        return saved_in(self.stages_folder, recipe)

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
            Refused: if a parent is not in the store.
            Damaged: if the request has a run that cannot be read.
        """
        request = _request(operation, config, parents, fingerprints)
        if name is not None:
            check_name(name)
        with self.writing() as index:
            same = index.rows("key = ?", (request.key,))
            if not again and (run := self._answer(same)) is not None:
                return run
            for row in same:
                if row["finished"]:
                    continue
                job = self._resume(row, request, name, suggestion)
                if job is not None:
                    return job
                if not again:
                    return self._run(row)
            return self._new(request, name, suggestion)

    def finished(
        self,
        operation: str,
        config: Mapping[str, Any],
        *,
        parents: Sequence[Parent] = (),
        fingerprints: Mapping[str, str] | None = None,
    ) -> Run | None:
        """The finished run of a request, which :meth:`begin` would return, or None.

        Raises:
            Damaged: if it cannot be read.
        """
        return self._answer(self.rows("key = ?", (_request(operation, config, parents, fingerprints).key,)))

    def _answer(self, rows: Sequence[Row]) -> Run | None:
        """The newest run among rows of the same request that is finished and can be read.

        Raises:
            Damaged: if there are finished ones, but none can be read.
        """
        wrong = None
        for row in reversed(rows):
            if row["finished"]:
                try:
                    return self._run(row)
                except Damaged as error:
                    wrong = wrong or error
        if wrong is not None:
            raise wrong
        return None

    def unfinished(
        self,
        operation: str,
        config: Mapping[str, Any],
        *,
        parents: Sequence[Parent] = (),
        fingerprints: Mapping[str, str] | None = None,
    ) -> Row | None:
        """The row of the run of a request that is running or was interrupted, as in :meth:`rows`, or None."""
        rows = self.rows("key = ? AND NOT finished", (_request(operation, config, parents, fingerprints).key,))
        return rows[0] if rows else None

    def check_free(
        self,
        name: str,
        operation: str,
        config: Mapping[str, Any],
        *,
        parents: Sequence[Parent] = (),
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse a name that :meth:`begin` would refuse for a request that is not finished.

        Raises:
            UsageError: if it is no valid name, or taken by another request.
        """
        check_name(name)
        key = _request(operation, config, parents, fingerprints).key
        holders = self.rows("name = ?", (name,))
        _refuse_taken(name, [row["name"] for row in holders if row["key"] != key and row["status"] != "interrupted"])

    def _new(self, request: Request, name: str | None, suggestion: str) -> Job:
        self._refuse_orphan(request)
        label = self._label(name, suggestion)
        folder = self.runs_folder / new_id()
        folder.mkdir()
        lock = FolderLock.take(folder, wait=True)
        assert lock is not None
        try:
            # The request comes last: it makes the folder a run, and that has its name already.
            records.write(folder / "label.json", label)
            records.write(folder / "request.json", request)
            durable.sync_folder(self.runs_folder)
            self._index.refresh(folder.name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()
            raise
        return self._job(folder, request, label, lock, resumed=False)

    def _resume(self, row: Row, request: Request, name: str | None, suggestion: str) -> Job | None:
        """Take up an unfinished run; None where it was published since the catalog was read.

        Raises:
            Busy: if another process carries it out.
        """
        folder = self.runs_folder / row["id"]
        lock = FolderLock.seize(folder)
        if lock is None:
            raise Busy(f"run {row['name']} is being carried out by another process", "wait for it to end")
        try:
            if (folder / "run.json").exists():
                lock.release()
                return None
            for path in (*folder.glob(".*.tmp"), *folder.glob("parts/.*.tmp")):
                path.unlink(missing_ok=True)
            label = Label(name=row["name"], tags=row["tags"])
            if label.name == row["id"]:  # killed before it had a name
                label = self._label(name, suggestion)
                records.write(folder / "label.json", label)
        except BaseException:
            lock.release()
            raise
        return self._job(folder, request, label, lock, resumed=True)

    def _label(self, name: str | None, suggestion: str) -> Label:
        """The name asked for, or a free one.

        Raises:
            UsageError: if another request has it.
        """
        if name is not None:
            self._set_aside(name)
        taken = set(self.names().values())
        _refuse_taken(name, taken)
        return Label(name=name or free_name(suggestion, taken))

    def _refuse_orphan(self, request: Request) -> None:
        """Refuse a request whose parents were removed since they were looked up.

        Raises:
            Refused: if there is one.
        """
        known = self.names()
        gone = [parent.id for parent in request.parents if parent.id not in known]
        if gone:
            raise Refused(f"run {gone[0]}, which this is made from, was removed", f"rashomon restore {gone[0]}")

    def _set_aside(self, name: str) -> None:
        """Free a name that an interrupted run holds: another request may have it, and the run can still be resumed."""
        for row in self.rows("name = ?", (name,)):
            if row["status"] == "interrupted":
                with contextlib.suppress(FileNotFoundError):  # refused just now, and gone
                    self._relabel(row, name=free_name(f"{name}-interrupted", set(self.names().values())))

    def _job(self, folder: Path, request: Request, label: Label, lock: FolderLock, *, resumed: bool) -> Job:
        return Job(
            folder,
            request,
            label,
            lock,
            stages=self.stages_folder,
            on_publish=self._published,
            on_refusal=self._refused,
            resumed=resumed,
        )

    def _published(self, run: Run) -> None:
        self._index.refresh(run.id)

    def _refused(self) -> None:
        if self._made is not None:
            self._index.close()
            root.take_back(self.root, self._made)


def _request(
    operation: str, config: Mapping[str, Any], parents: Sequence[Parent], fingerprints: Mapping[str, str] | None
) -> Request:
    return Request(
        operation=operation, config=dict(config), parents=list(parents), fingerprints=dict(fingerprints or {})
    )


def _refuse_taken(name: str | None, taken: Container[str]) -> None:
    """Refuse a name that another request has.

    Raises:
        UsageError: if it is among those taken.
    """
    if name in taken:
        hint = f"choose another --name, or rashomon rename {name} OTHER"
        raise UsageError(f"the name {name!r} is taken by another request", hint)
