"""``rashomon prune``."""

from __future__ import annotations

from rashomon_cli.cli.options import Publishing
from rashomon_cli.cli.publish import publish
from rashomon_cli.core.sweeps import Family
from rashomon_cli.operations.context import Where
from rashomon_cli.operations.prune import PruneConfig, plan

MODELS = {"family": PruneConfig, "where": Where, "common": Publishing}


def command(family: Family[PruneConfig], where: Where, common: Publishing) -> None:
    """Train on with an L1 penalty under a guard, then set small weights to zero for good.

    Example: rashomon prune m --l1 1e-4 --thr 0.05
    """
    publish(common, where, family, plan)
