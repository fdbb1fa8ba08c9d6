"""``rashomon ls``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rashomon_cli.cli import console
from rashomon_cli.cli.hints import show_note
from rashomon_cli.cli.objects import listed
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.ls import Entry, LsConfig, ls
from rashomon_cli.store import Store

MODELS = {"config": LsConfig, "common": Common}
_HEADS = ("name", "kind", "operation", "status", "age", "figures")


def command(config: LsConfig, common: Common) -> None:
    """List the runs of the store.

    Example: rashomon ls --kind model --where 'test_accuracy>0.9,seed=1'
    """
    store = Store.open(common.store)
    entries = ls(store, config)
    damaged = [entry.name for entry in entries if entry.status == "damaged"]
    if damaged and not common.quiet:
        show_note(f"damaged and left out of --json: {', '.join(damaged)}; rashomon check says why")
    finished = [entry for entry in entries if entry.status == "finished"]
    if common.json_:
        names = store.names()
        console.show_json({"runs": [listed(entry, store.runs_folder, names) for entry in finished]})
    elif common.quiet:
        print("".join(f"{entry.id}\n" for entry in finished), end="")
    elif entries:
        _show(entries)
    elif config != LsConfig():
        show_note("no run passes; rashomon ls lists all")
    else:
        show_note(f"no runs in {store.root} yet: rashomon train --seed 1 makes one")


def _show(entries: list[Entry]) -> None:
    """One line a run, with as many figures as fit."""
    now, room = datetime.now(UTC), console.room()
    groups = len({entry.group for entry in entries}) > 1
    heads = [*_HEADS, "group"] if groups else _HEADS
    fitting = [3] if room is None else [3, 2, 1, 3]
    for count in fitting:
        rows = [_row(entry, now, count) + ([entry.group] if groups else []) for entry in entries]
        if room is None or console.table_width(heads, rows) <= room:
            break
    console.show_table(heads, rows)


def _row(entry: Entry, now: datetime, count: int) -> list[str]:
    figures = ", ".join(f"{name} {console.figure(value)}" for name, value in entry.headlines(count).items())
    return [entry.name, entry.kind, entry.operation, entry.status, _age(now - entry.begun), figures]


def _age(since: timedelta) -> str:
    seconds = max(0, int(since.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
