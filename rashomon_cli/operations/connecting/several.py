"""What ``connect`` does with more than two models: a star, a simplicial complex, or the graph of what is joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rashomon_cli.operations.connecting import anchors, ridges, simplex, star
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan

if TYPE_CHECKING:
    from rashomon_cli.operations.connect import ConnectConfig

    Planner = Callable[[Context, ConnectConfig], Plan]

_PLANNERS: dict[str, Planner] = {"star": star.plan, "simplex": simplex.plan, "graph": ridges.plan}


def planner(config: ConnectConfig) -> Planner | None:
    """The ``plan`` of the way that is asked for; None for a path between two models.

    Raises:
        UsageError: if options do not go together.
    """
    mode = anchors.mode_of(config)
    return None if mode is None else _PLANNERS[mode]
