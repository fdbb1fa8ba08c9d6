"""What the catalog keeps of a run folder, and what is read back from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store.catalog import Row
from rashomon_cli.store.records import Label, Request, RunRecord, read

D = TypeVar("D")
UNFINISHED, FINISHED, DAMAGED = 0, 1, 2  # in the column ``finished``
_LISTED = {"tags", "parents", "metrics", "files"}


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
        "finished": UNFINISHED if record is None else FINISHED,
        "key": asked.key if asked else "",
        "operation": asked.operation if asked else "",
        "kind": record.kind if record else "",
        "listing": json.dumps(listing),
        "record": record.model_dump_json() if record else "",
    }


def row_of_folder(folder: Path) -> Row | None:
    """The row of a run folder, whatever state it is in.

    Args:
        folder: its name is the run's id.

    Returns:
        The row; None where nothing was written yet.
    """
    record, bad_record = _attempt(lambda: read_record(folder))
    request, bad_request = (None, False) if record else _attempt(lambda: read(folder / "request.json", Request))
    if not (record or request or bad_record or bad_request):
        return None
    label, bad_label = _attempt(lambda: label_of(folder))
    row = row_of(folder.name, label or Label(name=folder.name), request, record)
    damaged = bad_record or bad_request or (bad_label and record is not None)
    return row | {"finished": DAMAGED} if damaged else row


def read_record(folder: Path) -> RunRecord:
    """The record of a run folder.

    Raises:
        Damaged: if it cannot be read, or is that of another run.
        FileNotFoundError: if there is none.
    """
    record = read(folder / "run.json", RunRecord)
    if record.id != folder.name:
        raise Damaged(f"run.json of run {folder.name} is that of run {record.id}", "restore the folder from a copy")
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
    """A row of the catalog with ``tags``, ``parents``, ``metrics`` and ``files`` in place of ``listing``.

    Raises:
        ValueError: if the catalog is damaged there.
    """
    listing = json.loads(row["listing"])
    if not isinstance(listing, dict) or listing.keys() != _LISTED:
        raise ValueError(f"the catalog's row of {row['id']} is damaged")
    found = row | listing
    del found["listing"]
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
