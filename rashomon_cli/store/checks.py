"""A store looked at as a whole: every file that is missing, altered or out of place, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store import root
from rashomon_cli.store.findings import Finding, Report, shown, told
from rashomon_cli.store.index import present_runs
from rashomon_cli.store.inspection import Inspector, damaged_parts
from rashomon_cli.store.library import Library


def check(
    store: Library,
    references: Sequence[str] = (),
    *,
    read_data: bool = False,
    tick: Callable[[], None] | None = None,
) -> Report:
    """Compare a store's files with each other; nothing is changed.

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
    inspector = Inspector(store.runs_folder, present_runs(store.trash_folder), read_data=read_data)
    for run in chosen:
        report.findings += inspector.look(run, rows.get(run))
        report.runs += run in rows
        if run in rows and rows[run]["status"] == "interrupted":
            report.interrupted[run] = rows[run]["name"]
        if tick is not None:
            tick()
    if not references:
        report.findings += _of_the_store(store, read_data=read_data)
    return report


def _of_the_store(store: Library, *, read_data: bool) -> Iterator[Finding]:
    try:
        root.version_of(store.root)
    except Damaged as error:
        yield Finding(None, None, root.MARKER, told(error, store.root, root.MARKER), str(error.hint))
    known = present_runs(store.runs_folder)
    for name in sorted(os.listdir(store.runs_folder)) if store.runs_folder.is_dir() else ():
        if name not in known and not name.startswith("."):
            yield Finding(None, None, f"runs/{shown(name)}", "is no run", f"move it out of {store.runs_folder}")
    stages = sorted(store.stages_folder.iterdir()) if store.stages_folder.is_dir() else []
    for folder in stages:
        for file, problem in damaged_parts(folder, read_data=read_data):
            remedy = "the next run that needs it computes it again; rashomon gc drops what no run needs"
            yield Finding(None, None, f"stages/{shown(folder.name)}/{file}", problem, remedy)
