"""``rashomon plot``."""

from __future__ import annotations

from rashomon_cli.cli import console
from rashomon_cli.cli.options import Common
from rashomon_cli.core.options import Config
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plot import PlotConfig, plot
from rashomon_cli.store import Store

MODELS: dict[str, type[Config]] = {"config": PlotConfig, "common": Common}


def command(config: PlotConfig, common: Common) -> None:
    """Draw what a run measured, as PNG and SVG.

    Example: rashomon plot preresnet20-cifar10-s1 --out figures
    """
    files = plot(Context(Store.open(common.store)), config)
    if common.json_:
        console.show_json({"files": [str(path) for path in files]})
        return
    for path in files:
        print(path)
