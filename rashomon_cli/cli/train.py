"""``rashomon train``."""

from __future__ import annotations

from rashomon_cli.cli.options import Common
from rashomon_cli.cli.publish import publish
from rashomon_cli.operations.context import Where
from rashomon_cli.operations.train import TrainConfig, train

MODELS = {"config": TrainConfig, "where": Where, "common": Common}


def command(config: TrainConfig, where: Where, common: Common) -> None:
    """Train one model.

    Example: rashomon train --model preresnet20 --data cifar10 --seed 1
    """
    publish(common, where, config, train, create_store=True)
