"""Distance from the start and arc length."""

from __future__ import annotations

from rashomon_cli.core.options import Config
from rashomon_cli.operations.quantities.quantity import Quantity


class DistanceConfig(Config):
    """``distance`` has no settings."""


QUANTITY = Quantity(
    name="distance",
    help="distance from the start, arc length, and the share of the variance along the detour",
    settings=DistanceConfig,
    subject="path",
    measure="rashomon_cli.science.paths:distances",
    arguments=lambda s, sample: {},
    steps=lambda s, sizes: [],
)
