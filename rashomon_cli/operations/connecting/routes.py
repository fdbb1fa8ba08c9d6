"""Paths that a store knows between models: what ``connect`` and ``align`` published, read from their records."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rashomon_cli.store import Run

ALIGNED = "aligned"
"""A path to an aligned copy of one of the two: it ends at another θ, so it joins them up to symmetry only."""

KINDS = ("line", "bezier", "polyline", "star", "simplex", ALIGNED)


@dataclass(frozen=True)
class Route:
    """A path between two models.

    Attributes:
        kind: straight line, kind of the curve, ``star`` or ``simplex``; ``aligned`` where it leads to an aligned copy
            of one of the two, so that it joins them up to symmetry.
        one: id of the first model.
        other: id of the second model.
        run: name of the run that it comes from; empty for a straight line evaluated here.
        barrier: highest training loss above the higher end.
        stderr: its standard error.
        level: highest training loss; NaN where only the barrier is known.
        level_stderr: its standard error.
    """

    kind: str
    one: str
    other: str
    run: str
    barrier: float
    stderr: float
    level: float = math.nan
    level_stderr: float = math.nan


def originals(runs: Sequence[Run]) -> dict[str, str]:
    """For each aligned copy, the id of the model that was moved: its parent of role ``b``."""
    return {
        run.id: parent.id
        for run in runs
        if run.record.operation == "align" and run.kind == "model"
        for parent in run.record.parents
        if parent.role == "b"
    }


def leading(runs: Sequence[Run], models: set[str]) -> list[Run]:
    """The runs that hold a path between two of the models.

    Args:
        runs: of the store.
        models: ids.

    Returns:
        Those of them, in order; none of their files is opened.
    """
    copies = originals(runs)
    return [run for run in runs if any(True for _ in _joined(run, models, copies))]


def read(runs: Sequence[Run], models: set[str], copies: Mapping[str, str]) -> list[Route]:
    """The paths of runs that :func:`leading` found.

    Args:
        runs: that hold paths.
        models: ids.
        copies: ids of models by those of their aligned copies.

    Returns:
        One route for each pair of each run.

    Raises:
        Damaged: if a file was altered.
    """
    found = []
    for run in runs:
        groups = run.measurements() if run.record.operation == "connect" else {}
        for kind, (one, i), (other, j) in _joined(run, models, copies):
            found.append(Route(kind, one, other, run.name, *_height(run, groups, i, j)))
    return found


def _joined(
    run: Run, models: set[str], copies: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, int], tuple[str, int]]]:
    """Kind of path, and the two models with their places among the anchors, for each pair that a run joins."""
    kind = _kind(run)
    if kind is None:
        return
    ends = [p for p in run.record.parents if p.role in ("a", "b") or p.role.startswith("anchor-")]
    placed = []
    for place, parent in enumerate(ends):
        model, moved = parent.id, False
        while model not in models and model in copies:
            model, moved = copies[model], True
        if model in models and parent.t is None:
            placed.append((model, place, moved))
    for (one, i, moved), (other, j, too) in itertools.combinations(placed, 2):
        if one != other:
            yield ALIGNED if moved or too or kind == "align" else kind, (one, i), (other, j)


def _kind(run: Run) -> str | None:
    """What kind of path a run holds; None where it holds none."""
    config, metrics = run.record.config, run.metrics
    if run.record.operation == "align" and run.kind == "model" and _number(metrics.get("barrier_loss_aligned_reset")):
        return "align"
    if run.record.operation != "connect":
        return None
    if run.kind == "path" and _number(metrics.get("curve_barrier_loss")):
        via = config.get("via")
        if via == "transplant":  # which ends at a copy of b, its units at other places
            return "align"
        if via == "widen":  # in another network, where any two are joined
            return None
        return str(config.get("kind"))
    if run.kind == "simplex":
        return "simplex"
    return "star" if config.get("star") else None


def _height(run: Run, groups: Mapping[str, Any], i: int, j: int) -> tuple[float, float, float, float]:
    """Barrier, highest loss, and their standard errors."""
    metrics = run.metrics
    if "anchors" in groups:
        barrier, level = (groups["anchors"][f"via_{name}"] for name in ("barrier_loss", "level"))
        return (
            float(barrier.values[i, j]),
            float(barrier.stderr[i, j]),
            float(level.values[i, j]),
            float(level.stderr[i, j]),
        )
    name = "curve_barrier_loss" if "curve" in groups else "barrier_loss_aligned_reset"
    height = float(metrics[name]), _or_nan(metrics.get(f"{name}_stderr"))
    if "curve" not in groups:
        return *height, math.nan, math.nan
    loss = groups["curve"]["train_loss"]
    top = int(np.argmax(loss.values))
    return *height, float(loss.values[top]), math.nan if loss.stderr is None else float(loss.stderr[top])


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


def _or_nan(value: Any) -> float:
    return float(value) if _number(value) else math.nan
