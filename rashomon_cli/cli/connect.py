"""``rashomon connect``."""

from __future__ import annotations

from rashomon_cli.cli.options import Common
from rashomon_cli.cli.publish import publish
from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.context import Where

MODELS = {"config": ConnectConfig, "where": Where, "common": Common}


def command(config: ConnectConfig, where: Where, common: Common) -> None:
    """Train a path between two models and measure it beside the straight line.

    Example: rashomon connect a b --bend 1
    """
    publish(common, where, config, connect)
