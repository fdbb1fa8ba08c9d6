"""A store looked at as a whole: every file that is missing, altered or out of place, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store import root
from rashomon_cli.store.catalog import Row
from rashomon_cli.store.findings import Finding, Report, shown, told
from rashomon_cli.store.folders import folders_in, is_draft, names_in, present_runs
from rashomon_cli.store.inspection import Inspector, damaged_parts, document
from rashomon_cli.store.library import Library
from rashomon_cli.store.names import is_id
from rashomon_cli.store.rows import read_record


def check(
    store: Library,
    references: Sequence[str] = (),
    *,
    read_data: bool = False,
    tick: Callable[[], None] | None = None,
) -> Report:
    """Compare a store's files with each other; nothing is changed, and others may go on working.

    Args:
        store: the store.
        references: runs to look at, by name, id or unique prefix of an id; all, and the store itself, where none.
        read_data: read every file and compare its SHA-256.
        tick: called for each run.

    Returns:
        The report.

    Raises:
        UsageError: if there is no such run.
    """
    report = Report(read_data=read_data)
    rows = {row["id"]: row for row in store.rows()}
    chosen = [row["id"] for row in store.pick(references)] or sorted(present_runs(store.runs_folder))
    inspector = _inspector(store, read_data=read_data)
    for run in chosen:
        row = rows.get(run)
        if found := list(inspector.look(run, row)):
            row, found = _again(store, run, found, read_data=read_data)
        report.findings += found
        report.runs += row is not None
        if row is not None and row["status"] == "interrupted":
            report.interrupted[run] = row["name"]
        if tick is not None:
            tick()
    if not references:
        report.findings += _of_the_store(store, read_data=read_data)
    return report


def _inspector(store: Library, *, read_data: bool) -> Inspector:
    return Inspector(store.runs_folder, present_runs(store.trash_folder), read_data=read_data)


def _again(store: Library, run: str, found: Sequence[Finding], *, read_data: bool) -> tuple[Row | None, list[Finding]]:
    """A run's row and what is wrong with it still: it may have been published, named or removed at that moment."""
    row = next(iter(store.rows("id = ?", (run,))), None)
    seen = {finding.file for finding in found}
    later = list(_inspector(store, read_data=read_data).look(run, row))
    if not os.path.isdir(store.runs_folder / run):
        return None, []
    return row, [finding for finding in later if finding.file in seen]


def _of_the_store(store: Library, *, read_data: bool) -> Iterator[Finding]:
    try:
        root.version_of(store.root)
    except Damaged as error:
        yield Finding(None, None, root.MARKER, told(error, store.root, root.MARKER), str(error.hint))
    for name in names_in(store.root):
        if name not in root.OWN and not is_draft(name):
            yield Finding(None, None, shown(name), "does not belong to the store", f"move it out of {store.root}")
    yield from _strays(store.runs_folder)
    yield from _strays(store.trash_folder)
    for run in sorted(present_runs(store.trash_folder)):
        folder = store.trash_folder / run
        if (wrong := _problem_of_record(folder)) and os.path.isdir(folder):
            remedy = "restore it from a copy; rashomon gc deletes the trash"
            yield Finding(None, None, f"trash/{run}/run.json", wrong, remedy)
    for folder in folders_in(store.stages_folder):
        for file, problem in damaged_parts(folder, read_data=read_data):
            remedy = "the next run that needs it computes it again; rashomon gc drops what no run needs"
            yield Finding(None, None, f"stages/{shown(folder.name)}/{file}", problem, remedy)


def _problem_of_record(folder: Path) -> str | None:
    return document(folder, "run.json", lambda: read_record(folder))[1]


def _strays(folder: Path) -> Iterator[Finding]:
    """What lies among the runs and is none."""
    for name in names_in(folder):
        path = folder / name
        if not name.startswith(".") and not (is_id(name) and os.path.isdir(path)) and os.path.lexists(path):
            yield Finding(None, None, f"{folder.name}/{shown(name)}", "is no run", f"move it out of {folder}")
