"""``rashomon tag``."""

from __future__ import annotations

from rashomon_cli.cli import console
from rashomon_cli.cli.objects import describe
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.tag import TagConfig, tag
from rashomon_cli.store import Store

MODELS = {"config": TagConfig, "common": Common}


def command(config: TagConfig, common: Common) -> None:
    """Give a run tags, or take them away.

    Example: rashomon tag baseline thesis figure-2
    """
    store = Store.open(common.store)
    run = tag(store, config)
    if common.json_:
        console.show_json(describe(run, store) | {"tags": run.label.tags})
    else:
        print(run.id if common.quiet else f"{run.name} has {', '.join(run.label.tags) or 'no tags'}")
