"""``rashomon ls``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rashomon_cli.cli import console
from rashomon_cli.cli.options import Common
from rashomon_cli.cli.publish import describe
from rashomon_cli.operations.ls import Entry, ls
from rashomon_cli.store import Store

MODELS = {"common": Common}
_HEADS = ["name", "kind", "operation", "status", "age", "figures"]


def command(common: Common) -> None:
    """List the runs of the store.

    Example: rashomon ls --json
    """
    store = Store.open(common.store)
    entries = ls(store)
    damaged = [entry.name for entry in entries if entry.status == "damaged"]
    if damaged and not common.quiet:
        console.show_note(f"damaged and left out of --json: {', '.join(damaged)}; rashomon show NAME says why")
    if common.json_:
        names = store.names()
        console.show_json({"runs": [describe(run, store, names) for run in store.runs()]})
    elif common.quiet:
        for entry in entries:
            if entry.status == "finished":
                print(entry.id)
    elif entries:
        _show(entries)
    else:
        console.show_note(f"no runs in {store.root} yet: rashomon train --seed 1 makes one")


def _show(entries: list[Entry]) -> None:
    now, room = datetime.now(UTC), console.room()
    for count in (3, 2, 1):
        rows = [_row(entry, now, count) for entry in entries]
        if room is None or console.table_width(_HEADS, rows) <= room:
            break
    else:
        rows = [_row(entry, now, 3) for entry in entries]
    console.show_table(_HEADS, rows)


def _row(entry: Entry, now: datetime, count: int) -> list[str]:
    figures = ", ".join(f"{name} {_figure(value)}" for name, value in entry.headlines(count).items())
    return [entry.name, entry.kind, entry.operation, entry.status, _age(now - entry.begun), figures]


def _figure(value: Any) -> str:
    """A number, or the range of a list over points."""
    if not isinstance(value, list):
        return console.number(value)
    known = [v for v in value if v is not None]
    return f"{console.number(min(known))} to {console.number(max(known))}" if known else "–"


def _age(since: timedelta) -> str:
    seconds = max(0, int(since.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
