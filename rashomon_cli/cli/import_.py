"""``rashomon import``."""

from __future__ import annotations

from rashomon_cli.cli.options import Publishing
from rashomon_cli.cli.publish import publish
from rashomon_cli.core.sweeps import Family
from rashomon_cli.operations.context import Where
from rashomon_cli.operations.import_ import ImportConfig, plan

MODELS = {"family": ImportConfig, "where": Where, "common": Publishing}


def command(family: Family[ImportConfig], where: Where, common: Publishing) -> None:
    """Take the weights of a file into the store; no code of the file is run.

    Example: rashomon import weights.pt --model preresnet20 --data cifar10 --name mine
    """
    publish(common, where, family, plan, create_store=True)
