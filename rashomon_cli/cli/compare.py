"""``rashomon compare``."""

from __future__ import annotations

from rashomon_cli.cli.options import Common
from rashomon_cli.cli.publish import publish
from rashomon_cli.operations.compare import CompareConfig, compare
from rashomon_cli.operations.context import Where

MODELS = {"config": CompareConfig, "where": Where, "common": Common}


def command(config: CompareConfig, where: Where, common: Common) -> None:
    """Compare the predictions of every pair of models on data that they were not trained on.

    Example: rashomon compare --ood mnist
    """
    publish(common, where, config, compare)
