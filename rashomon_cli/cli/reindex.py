"""``rashomon reindex``."""

from __future__ import annotations

from rashomon_cli.cli import console
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.reindex import reindex
from rashomon_cli.store import Store

MODELS = {"common": Common}


def command(common: Common) -> None:
    """Make the catalog anew from the run folders.

    Example: rashomon reindex
    """
    count = reindex(Store.open(common.store, mend=True))
    if common.json_:
        console.show_json({"indexed": count})
    elif not common.quiet:
        print(f"{count} runs" if count != 1 else "1 run")
