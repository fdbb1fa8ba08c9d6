"""``rashomon probe``."""

from __future__ import annotations

from typing import Any

from rashomon_cli.cli.options import Common
from rashomon_cli.cli.publish import publish
from rashomon_cli.operations.context import Where
from rashomon_cli.operations.probe import ProbeConfig, probe
from rashomon_cli.operations.quantities import QUANTITIES

MODELS = {"config": ProbeConfig, **{q.name: q.settings for q in QUANTITIES}, "where": Where, "common": Common}


def command(config: ProbeConfig, where: Where, common: Common, **settings: Any) -> None:
    """Measure a model, a path, or the model at NAME@t.

    Example: rashomon probe bezier-a-b --points 5 --what loss,hvp
    """
    publish(common, where, config, lambda context, config: probe(context, config, settings))
