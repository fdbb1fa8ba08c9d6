"""``rashomon compare``."""

from __future__ import annotations

from rashomon_cli.cli.options import Publishing
from rashomon_cli.cli.publish import publish
from rashomon_cli.core.sweeps import Family
from rashomon_cli.operations.compare import CompareConfig, plan
from rashomon_cli.operations.context import Where

MODELS = {"family": CompareConfig, "where": Where, "common": Publishing}


def command(family: Family[CompareConfig], where: Where, common: Publishing) -> None:
    """Compare the predictions of every pair of models on data that they were not trained on.

    Example: rashomon compare --ood mnist
    """
    publish(common, where, family, plan)
