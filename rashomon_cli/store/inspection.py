"""One run looked at: its documents, its artifacts, its parents, its row in the catalog."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import TypeVar

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store import durable, seals
from rashomon_cli.store.catalog import Row
from rashomon_cli.store.findings import Finding, shown, told
from rashomon_cli.store.folders import is_draft, names_in
from rashomon_cli.store.names import is_id
from rashomon_cli.store.records import Artifact, Label, Parent, Request, RunRecord, read
from rashomon_cli.store.rows import parsed, read_record, row_of_folder

D = TypeVar("D")


class Inspector:
    """Looks at one run after the other.

    Args:
        runs: the folder of all runs.
        trashed: ids of what is in the trash.
        read_data: read every file and compare its SHA-256.
    """

    def __init__(self, runs: Path, trashed: Set[str], *, read_data: bool) -> None:
        self._runs = runs
        self._trashed = trashed
        self._read_data = read_data
        self._digests: dict[str, set[str] | None] = {}

    def look(self, run: str, row: Row | None) -> Iterator[Finding]:
        """Everything that is wrong with a run.

        Args:
            run: its id.
            row: from the catalog; None where there is none.

        Yields:
            Findings.
        """
        folder, name = self._runs / run, row["name"] if row else run
        again = f"restore it from a copy, or rashomon rm {run} and make the run again"
        for file, problem, remedy in self._problems(folder, row):
            yield Finding(run, name, shown(file), problem, remedy or again)

    def _problems(self, folder: Path, row: Row | None) -> Iterator[tuple[str, str, str]]:
        run = folder.name
        record, wrong = document(folder, "run.json", lambda: read_record(folder))
        if record is None and wrong is None and row is not None and row["finished"]:
            wrong = "is missing"
        finished = record is not None or wrong is not None
        request, lost = document(folder, "request.json", lambda: read(folder / "request.json", Request))
        if not finished and request is None and lost is None:
            return  # a folder in which nothing was written yet
        named, unnamed = document(folder, "label.json", lambda: read(folder / "label.json", Label))
        if wrong:
            yield "run.json", wrong, ""
        if lost or (finished and request is None):
            yield "request.json", lost or "is missing", ""
        if unnamed or (finished and not named):
            remedy = f"rashomon rename {run} NAME writes it anew" if finished else ""
            yield "label.json", unnamed or "is missing", remedy
        if record is not None:
            yield from self._finished(folder, record, request)
            if not unnamed and named and self._differs(folder, row):
                yield "catalog.db", "does not say what the run's files say", "rashomon reindex"
        elif not wrong:
            yield from self._parts(folder)
        asked = record or request
        for parent in asked.parents if asked else []:
            yield from self._parent(run, parent)

    def _finished(self, folder: Path, record: RunRecord, request: Request | None) -> Iterator[tuple[str, str, str]]:
        if request is not None:
            told = request.model_copy(update=record.model_dump(include={"operation", "config"}))
            told.parents = record.parents
            if not request.key == record.key == told.key:
                yield "run.json", "is not the answer to request.json: their keys differ", ""
        for artifact in record.artifacts:
            problem = self._artifact(folder, artifact)
            if problem:
                yield artifact.path, problem, ""
        known = {"run.json", "request.json", "label.json", *(artifact.path for artifact in record.artifacts)}
        if not os.access(folder, os.R_OK):
            yield ".", "cannot be listed", ""
        for name in names_in(folder):
            if name not in known and name != "parts" and not is_draft(name):
                yield name, "does not belong to the run", f"move it out of {folder}"

    def _artifact(self, folder: Path, artifact: Artifact) -> str | None:
        try:
            found = os.stat(folder / artifact.path)
            if not stat.S_ISREG(found.st_mode):
                return "is no regular file"
            if found.st_size != artifact.bytes:
                return f"has {found.st_size} bytes, not {artifact.bytes}"
            if self._read_data and durable.sha256(folder / artifact.path) != artifact.sha256:
                return "was altered: its SHA-256 does not match run.json"
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        except Damaged as error:
            return told(error, folder, artifact.path)
        return None

    def _differs(self, folder: Path, row: Row | None) -> bool:
        fresh = row_of_folder(folder)
        return row is None or fresh is None or parsed(fresh) | {"status": row["status"]} != row

    def _parts(self, folder: Path) -> Iterator[tuple[str, str, str]]:
        remedy = f"the command computes it again; rashomon rm {folder.name} removes the run"
        for name, problem in damaged_parts(folder / "parts", read_data=self._read_data):
            yield f"parts/{name}", problem, remedy

    def _parent(self, run: str, parent: Parent) -> Iterator[tuple[str, str, str]]:
        if not is_id(parent.id):
            yield "run.json", f"its parent {shown(parent.id)!r} is no run", ""
            return
        digests = self._digests_of(parent.id)
        if digests is None:
            if parent.id in self._trashed:
                yield "run.json", f"its parent {parent.id} was removed", f"rashomon restore {parent.id}"
            elif not os.path.isdir(self._runs / parent.id):
                remedy = f"restore the parent's folder from a copy, or rashomon rm {run}"
                yield "run.json", f"its parent {parent.id} is missing", remedy
        elif parent.sha256 is not None and parent.sha256 not in digests:
            yield "run.json", f"its parent {parent.id} is not what it was made from", ""

    def _digests_of(self, run: str) -> set[str] | None:
        """The SHA-256 of a run's files as it records them; None where it does not exist or cannot be read."""
        if run not in self._digests:
            record, _ = document(self._runs / run, "run.json", lambda: read_record(self._runs / run))
            self._digests[run] = None if record is None else {artifact.sha256 for artifact in record.artifacts}
        return self._digests[run]


def damaged_parts(folder: Path, *, read_data: bool) -> Iterator[tuple[str, str]]:
    """Saved steps that will be computed again because they cannot be read.

    Args:
        folder: of the parts; it may be missing.
        read_data: compare each with its SHA-256; otherwise only see that it is a file.

    Yields:
        Name and problem.
    """
    for name in names_in(folder):
        try:
            if name.endswith(".json"):
                durable.read_json(folder / name)
            elif name.endswith(".h5") and read_data:
                seals.check_digest(folder / name)
            elif name.endswith(".h5"):
                with durable.opened(folder / name):
                    continue
        except FileNotFoundError:
            continue
        except Damaged as error:
            yield shown(name), told(error, folder, name)


def document(folder: Path, name: str, read_it: Callable[[], D]) -> tuple[D | None, str | None]:
    """A document, or what is wrong with it; neither where there is none."""
    try:
        return read_it(), None
    except FileNotFoundError:
        return None, None
    except Damaged as error:
        return None, told(error, folder, name)
