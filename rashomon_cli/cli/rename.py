"""``rashomon rename``."""

from __future__ import annotations

from rashomon_cli.cli import console
from rashomon_cli.cli.objects import describe
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.rename import RenameConfig, rename
from rashomon_cli.store import Store

MODELS = {"config": RenameConfig, "common": Common}


def command(config: RenameConfig, common: Common) -> None:
    """Give a run another name.

    Example: rashomon rename mlp-digits-s0 baseline
    """
    store = Store.open(common.store)
    run = rename(store, config)
    if common.json_:
        console.show_json(describe(run, store))
    else:
        print(run.id if common.quiet else f"{run.id} is now {run.name}")
