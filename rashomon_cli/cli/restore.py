"""``rashomon restore``."""

from __future__ import annotations

from rashomon_cli.cli import console
from rashomon_cli.cli.hints import show_note
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.ls import Entry
from rashomon_cli.operations.restore import RestoreConfig, restore, trashed
from rashomon_cli.store import Store

MODELS = {"config": RestoreConfig, "common": Common}


def command(config: RestoreConfig, common: Common) -> None:
    """Bring removed runs back; without a name, list what is in the trash.

    Example: rashomon restore preresnet20-cifar10-s1
    """
    store = Store.open(common.store)
    if not config.runs and config.name is None:
        _list(trashed(store), common)
        return
    restored = restore(store, config)
    if common.json_:
        console.show_json({"restored": [{"id": entry.id, "name": entry.name} for entry in restored]})
        return
    for entry in restored:
        print(entry.id if common.quiet else f"{entry.id} {entry.name} is back")


def _list(entries: list[Entry], common: Common) -> None:
    heads = ("id", "name", "kind", "operation", "status")
    if common.json_:
        console.show_json({"trash": [{head: getattr(entry, head) for head in heads} for entry in entries]})
    elif common.quiet:
        for entry in entries:
            print(entry.id)
    elif entries:
        console.show_table(heads, [[getattr(entry, head) for head in heads] for entry in entries])
    else:
        show_note("the trash is empty; rashomon rm puts runs there")
