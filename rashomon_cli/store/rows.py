"""What the catalog keeps of a run folder, and what is read back from it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rashomon_cli.core.errors import Damaged
from rashomon_cli.core.text import printable
from rashomon_cli.store.catalog import Row
from rashomon_cli.store.folders import is_blank
from rashomon_cli.store.records import Label, Request, RunRecord, read

D = TypeVar("D")
UNFINISHED, FINISHED, DAMAGED = 0, 1, 2  # in the column ``finished``


def row_of(run_id: str, label: Label, request: Request | None, record: RunRecord | None) -> Row:
    """The catalog's row of a run.

    Args:
        run_id: the ULID.
        label: name and tags.
        request: what was asked; None where it could not be read, or the record tells.
        record: what came of it; None while unfinished.

    Returns:
        Values by column; ``listing`` is the JSON of an object with tags, parents, metrics and names of files.
    """
    asked = record or request
    listing = {
        "tags": label.tags,
        "parents": [parent.model_dump(exclude_defaults=True) for parent in asked.parents] if asked else [],
        "metrics": record.metrics if record else {},
        "files": [artifact.path for artifact in record.artifacts] if record else [],
    }
    return {
        "id": run_id,
        "name": label.name,
        "stamp": "",
        "finished": UNFINISHED if record is None else FINISHED,
        "key": asked.key if asked else "",
        "operation": asked.operation if asked else "",
        "kind": record.kind if record else "",
        "listing": json.dumps(listing),
        "record": record.model_dump_json() if record else "",
    }


def row_of_folder(folder: Path, known: Label | None = None) -> Row | None:
    """The row of a run folder, whatever state it is in.

    Args:
        folder: its name is the run's id.
        known: what its label said last, for a finished run that has lost it; the id is its name where None.

    Returns:
        The row; None where nothing was written yet.
    """
    blank = is_blank(folder)  # before the documents are read: the first of them may be written in between
    stamp = stamp_of(folder)
    record, bad_record = _attempt(lambda: read_record(folder))
    request, bad_request = (None, False) if record else _attempt(lambda: read(folder / "request.json", Request))
    lost = not (record or request or bad_record or bad_request)
    if lost and (blank or is_blank(folder)):
        return None
    label, bad_label = _attempt(lambda: read(folder / "label.json", Label))
    label = label or (known if record else None) or Label(name=folder.name)
    row = row_of(folder.name, label, request, record) | {"stamp": stamp}
    damaged = lost or bad_record or bad_request or (bad_label and record is not None)
    return row | {"finished": DAMAGED} if damaged else row


def stamp_of(folder: Path | str) -> str:
    """What tells a run folder's label from every later one; empty where there is none."""
    try:
        found = os.stat(f"{folder}/label.json")
    except OSError:
        return ""
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"


def read_record(folder: Path) -> RunRecord:
    """The record of a run folder.

    Raises:
        Damaged: if it cannot be read, or is that of another run.
        FileNotFoundError: if there is none.
    """
    record = read(folder / "run.json", RunRecord)
    if record.id != folder.name:
        other = printable(record.id)
        raise Damaged(f"run.json of run {folder.name} is that of run {other}", "restore the folder from a copy")
    return record


def label_of(folder: Path) -> Label:
    """The name and tags of a run folder; its id is its name where no label was written.

    Raises:
        Damaged: if the label cannot be read.
    """
    try:
        return read(folder / "label.json", Label)
    except FileNotFoundError:
        return Label(name=folder.name)
    except Damaged as error:
        raise Damaged(error.message, f"rashomon rename {folder.name} NAME writes it anew") from None


def parsed(row: Row) -> Row:
    """A row of the catalog with ``tags``, ``parents``, ``metrics`` and ``files`` in place of ``listing``."""
    found: Row = row | json.loads(row["listing"])
    del found["listing"], found["stamp"]
    return found


def _attempt(read_it: Callable[[], D]) -> tuple[D | None, bool]:
    """A document, where there is one that can be read, and whether there is one that cannot."""
    try:
        return read_it(), False
    except FileNotFoundError:
        return None, False
    except Damaged:
        return None, True


def parents(row: Row) -> list[str]:
    """Ids of the runs that a run was made from, of a parsed row."""
    return [parent["id"] for parent in row["parents"]]
