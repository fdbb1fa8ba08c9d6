"""``rashomon export``."""

from __future__ import annotations

from rashomon_cli.cli import console
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.export import ExportConfig, export

MODELS = {"config": ExportConfig, "common": Common}


def command(config: ExportConfig, common: Common) -> None:
    """Write a model as a state dict that plain PyTorch loads, and a card that says how.

    Example: rashomon export preresnet20-cifar10-s1 --out models
    """
    with console.Bar(common.quiet) as bar:
        files = export(Context.open(common.store, progress=bar), config)
    if common.json_:
        console.show_json({"files": [str(path) for path in files]})
        return
    for path in files:
        print(path)
