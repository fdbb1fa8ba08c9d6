"""``rashomon connect``."""

from __future__ import annotations

from rashomon_cli.cli.options import Publishing
from rashomon_cli.cli.publish import publish
from rashomon_cli.core.sweeps import Family
from rashomon_cli.operations.connect import ConnectConfig, plan
from rashomon_cli.operations.context import Where

MODELS = {"family": ConnectConfig, "where": Where, "common": Publishing}


def command(family: Family[ConnectConfig], where: Where, common: Publishing) -> None:
    """Train a path between two models and measure it beside the straight line.

    Example: rashomon connect a b --bend 1
    """
    publish(common, where, family, plan)
