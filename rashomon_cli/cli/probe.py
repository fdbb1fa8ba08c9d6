"""``rashomon probe``."""

from __future__ import annotations

from typing import Any

from rashomon_cli.cli.options import Publishing
from rashomon_cli.cli.publish import publish
from rashomon_cli.core.sweeps import Family
from rashomon_cli.operations.context import Where
from rashomon_cli.operations.probe import ProbeConfig, plan
from rashomon_cli.operations.quantities import QUANTITIES

MODELS = {"family": ProbeConfig, **{q.name: q.settings for q in QUANTITIES}, "where": Where, "common": Publishing}


def command(family: Family[ProbeConfig], where: Where, common: Publishing, **settings: Any) -> None:
    """Measure a model, a path, or the model at NAME@t.

    Example: rashomon probe bezier-a-b --points 5 --what loss,hvp
    """
    publish(common, where, family, lambda context, config: plan(context, config, settings))
