"""``rashomon rm``."""

from __future__ import annotations

from rashomon_cli.cli import console
from rashomon_cli.cli.hints import show_note
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.rm import RmConfig, rm
from rashomon_cli.store import Store

MODELS = {"config": RmConfig, "common": Common}


def command(config: RmConfig, common: Common) -> None:
    """Remove runs; they are kept in the trash until gc.

    Example: rashomon rm preresnet20-cifar10-s1
    """
    removed = rm(Store.open(common.store), config)
    if common.json_:
        console.show_json({"removed": [{"id": entry.id, "name": entry.name} for entry in removed]})
        return
    for entry in removed:
        print(entry.id if common.quiet else f"{entry.id} {entry.name} is in the trash")
    if not common.quiet:
        show_note("rashomon restore brings runs back; rashomon gc deletes those that no run of the store was made from")
