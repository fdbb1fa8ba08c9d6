"""Removed runs: moved to ``trash/``, from where they come back until they are swept away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rashomon_cli.core.errors import Busy, Refused, UsageError
from rashomon_cli.store import durable, records
from rashomon_cli.store.catalog import Row
from rashomon_cli.store.disposal import put_away
from rashomon_cli.store.folders import present_runs
from rashomon_cli.store.library import Library
from rashomon_cli.store.names import check_name, find_id, free_name
from rashomon_cli.store.records import Label
from rashomon_cli.store.rows import DAMAGED, parents, parsed, row_of, row_of_folder

_NAMED = 20  # runs that a hint names one by one
_LISTED = 5  # and an error


def remove(store: Library, references: Sequence[str], *, force: bool = False) -> list[Row]:
    """Move runs to the trash, in whatever state they are: the newest first, and of each the catalog's row first.

    Args:
        store: the store.
        references: names, ids or unique prefixes of ids.
        force: leave runs that were made from them without a parent.

    Returns:
        The rows of what was removed.

    Raises:
        UsageError: if there is no such run.
        Refused: if runs that stay were made from them.
        Busy: if one is being carried out.
        OSError: if the disk refuses.
    """
    with store.writing() as index:
        rows = {row["id"]: row for row in store.pick(references)}
        if not force:
            _refuse_orphans(rows, store.rows())
        for row in rows.values():  # nobody resumes one while this block writes
            if row["status"] == "running":
                raise Busy(f"run {row['name']} is being carried out by another process", "wait for it to end")
        store.trash_folder.mkdir(exist_ok=True)
        for run in sorted(rows, reverse=True):
            index.forget(run)
            put_away(store.trash_folder, store.trash_folder / run)  # an older copy of it
            durable.move(store.runs_folder / run, store.trash_folder / run)
    return list(rows.values())


def trashed(store: Library) -> list[Row]:
    """The rows of what is in the trash, oldest first, as in :meth:`Library.rows`."""
    rows = []
    for run in sorted(present_runs(store.trash_folder)):
        row = row_of_folder(store.trash_folder / run)
        row = row or row_of(run, Label(name=run), None, None) | {"finished": DAMAGED}
        rows.append(parsed(row) | {"status": ("interrupted", "finished", "damaged")[row["finished"]]})
    return rows


def restore(store: Library, references: Sequence[str], *, name: str | None = None) -> list[Row]:
    """Bring runs back from the trash.

    Args:
        store: the store.
        references: names, ids or unique prefixes of ids.
        name: another name, for a single run.

    Returns:
        The rows of what came back, oldest first.

    Raises:
        UsageError: if there is no such run in the trash, several match, or its name is taken.
        OSError: if the disk refuses.
    """
    if name is not None:
        check_name(name)
    with store.writing() as index:
        rows = {row["id"]: row for row in trashed(store)}
        known = {run: row["name"] for run, row in rows.items()}
        said = {"what": "trashed run", "show": "rashomon restore", "ls": "rashomon restore"}
        chosen = sorted({find_id(reference, known, **said) for reference in references})
        if name is not None and len(chosen) != 1:
            hint = f"rashomon restore {chosen[0]} --name {name}" if chosen else "rashomon restore lists the trash"
            raise UsageError("--name is for one run", hint)
        taken = store.names()
        for run in chosen:
            called = name or known[run]
            if run in taken:
                raise UsageError(f"run {run} is in the store already", f"rashomon show {run}")
            if called in taken.values():
                other = free_name(called, set(taken.values()))
                hint = f"rashomon restore {run} --name {other}"
                raise UsageError(f"the name {called!r} is taken meanwhile", hint)
            taken[run] = called
        for run in chosen:
            if name is not None:
                label = Label(name=name, tags=rows[run]["tags"])
                records.write(store.trash_folder / run / "label.json", label)
            durable.move(store.trash_folder / run, store.runs_folder / run)
        index.refresh(*chosen)
        return store.pick(chosen)


def _refuse_orphans(chosen: Mapping[str, Row], rows: Sequence[Row]) -> None:
    """Refuse to remove what other runs were made from.

    Raises:
        Refused: naming them, with the command that removes all.
    """
    children: dict[str, list[Row]] = {}
    for row in rows:
        for parent in parents(row):
            children.setdefault(parent, []).append(row)
    orphans = [row["name"] for run in chosen for row in children.get(run, []) if row["id"] not in chosen]
    if not orphans:
        return
    below = dict(chosen)
    open_ = list(chosen)
    while open_:
        new = [row for row in children.get(open_.pop(), []) if row["id"] not in below]
        below |= {row["id"]: row for row in new}
        open_ += [row["id"] for row in new]
    names = " ".join(row["name"] for row in chosen.values())
    hint = " ".join(["rashomon rm", *(row["name"] for row in below.values())])
    if len(below) > _NAMED:
        hint = f"rashomon rm {names} --force leaves them without it"
    if running := [row["name"] for row in below.values() if row.get("status") == "running"]:
        hint = f"wait until {_some(running)} is done; rashomon ls shows it"
    raise Refused(f"made from {names.replace(' ', ', ')}: {_some(list(dict.fromkeys(orphans)))}", hint)


def _some(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
