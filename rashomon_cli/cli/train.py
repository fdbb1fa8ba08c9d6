"""``rashomon train``."""

from __future__ import annotations

from rashomon_cli.cli.options import Publishing
from rashomon_cli.cli.publish import publish
from rashomon_cli.core.sweeps import Family
from rashomon_cli.operations.context import Where
from rashomon_cli.operations.train import TrainConfig, plan

MODELS = {"family": TrainConfig, "where": Where, "common": Publishing}


def command(family: Family[TrainConfig], where: Where, common: Publishing) -> None:
    """Train one model.

    Example: rashomon train --model preresnet20 --data cifar10 --seed 1
    """
    publish(common, where, family, plan, create_store=True)
