"""Straight lines between named points of parameter space, such as a hub and its anchors: measured, and as matrices."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.results import Variable, series
from rashomon_cli.operations import problems
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.profiles import Measured, drawn, evaluated, profile_variables
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.science.evaluation import Evaluation
    from rashomon_cli.science.profile import Barrier

Line = tuple[str, str]


def measure(
    context: Context,
    job: Job,
    loaded: problems.Loaded,
    thetas: Mapping[str, Tensor],
    lines: Sequence[Line],
    points: int,
    samples: Samples,
    seed: int,
) -> dict[Line, Measured]:
    """Evaluate lines between points at evenly spaced positions, each end once; every position is kept as a part.

    Args:
        context: told of every step.
        job: keeps the parts.
        loaded: the problem.
        thetas: the points (P,), by short names.
        lines: names of their ends.
        points: positions on each, both ends included.
        samples: examples of each split.
        seed: of the samples.

    Returns:
        The evaluations of each line, from its first end to its second.
    """
    train, test = drawn(loaded, samples, seed)
    ts = [float(t) for t in np.linspace(0, 1, points)]
    context.progress.start("evaluate", (2 * train.steps + test.steps) * (len(thetas) + len(lines) * (points - 2)))
    ends = {n: evaluated(context, job, loaded, f"end-{n}", theta, train, test) for n, theta in thetas.items()}
    found = {}
    for a, b in lines:
        inner = [
            evaluated(context, job, loaded, f"{a}-{b}-{k}", (1 - t) * thetas[a] + t * thetas[b], train, test)
            for k, t in enumerate(ts[1:-1], 1)
        ]
        both = [ends[a], *inner, ends[b]]
        found[a, b] = Measured(ts, [one for one, _ in both], [two for _, two in both])
    return found


def passes(ends: int, lines: int, points: int, train: int, test: int) -> tuple[int, int]:
    """What :func:`measure` costs.

    Args:
        ends: number of points.
        lines: number of lines.
        points: positions on each line.
        train: training examples at each position.
        test: test examples at each position.

    Returns:
        Number of positions, and of forward passes: BatchNorm refreshed, and both splits evaluated.
    """
    positions = ends + lines * (points - 2)
    return positions, positions * (2 * train + test)


@dataclass(frozen=True)
class Height:
    """How high a path rises.

    Attributes:
        loss: its barrier.
        error: in percentage points; None for regression.
        level: highest mean loss along it.
        level_stderr: its standard error over images.
    """

    loss: Barrier
    error: Barrier | None
    level: float
    level_stderr: float


def height(along: Sequence[Evaluation]) -> Height:
    """The height of a path from its evaluations on the training sample, in order, both ends included."""
    from rashomon_cli.science.profile import barrier

    ts = np.linspace(0, 1, len(along)).tolist()
    population = along[0].population
    wrong = [e.wrong.numpy() for e in along if e.wrong is not None]
    top = max(along, key=lambda e: e.loss)
    return Height(
        barrier(ts, np.stack([e.losses.numpy() for e in along]), population),
        barrier(ts, np.stack(wrong), population, 100.0) if wrong else None,
        top.loss,
        top.loss_stderr,
    )


def through(one: Measured, other: Measured) -> list[Evaluation]:
    """The training evaluations along one spoke towards the hub, and along another one away from it."""
    return [*reversed(one.train), *other.train[1:]]


def pairs(count: int) -> list[str]:
    """Labels of the pairs of so many anchors, which are numbered from 1, in the order of ``itertools.combinations``."""
    return [f"{one}-{other}" for one, other in itertools.combinations(range(1, count + 1), 2)]


def metrics(prefix: str, heights: Sequence[Height]) -> dict[str, Any]:
    """Barriers as lists, and the highest of them: ``<prefix>barrier_loss``, ``_stderr``, ``_max``, and of the error."""
    found: dict[str, Any] = {}
    losses = [h.loss for h in heights]
    errors = [h.error for h in heights if h.error is not None]
    for name, barriers in (("loss", losses), ("error", errors)):
        if barriers:
            top = max(barriers, key=lambda b: b.value)
            found |= {
                f"{prefix}barrier_{name}": [b.value for b in barriers],
                f"{prefix}barrier_{name}_stderr": [b.stderr for b in barriers],
                f"{prefix}barrier_{name}_max": top.value,
                f"{prefix}barrier_{name}_max_stderr": top.stderr,
            }
    return found


def matrices(prefix: str, words: str, count: int, heights: Sequence[Height]) -> dict[str, Variable]:
    """Barrier and highest loss of a path between each two anchors, as symmetric matrices.

    Args:
        prefix: of the variables' names.
        words: what the paths are.
        count: number of anchors.
        heights: of all pairs, in the order of ``itertools.combinations``.

    Returns:
        ``<prefix>_barrier_loss`` and ``<prefix>_level`` along ``anchor`` and ``other``, NaN on the diagonal.
    """
    blank = np.full((4, count, count), np.nan)
    for (i, j), h in zip(itertools.combinations(range(count), 2), heights, strict=True):
        blank[:, i, j] = blank[:, j, i] = h.loss.value, h.loss.stderr, h.level, h.level_stderr
    dims = ("anchor", "other")
    return {
        f"{prefix}_barrier_loss": Variable(dims, blank[0], "nat", f"barrier of {words}", blank[1]),
        f"{prefix}_level": Variable(dims, blank[2], "nat", f"highest training loss along {words}", blank[3]),
    }


def names(labels: Sequence[str]) -> dict[str, Variable]:
    """The anchors' names along both dimensions of a matrix."""
    return {"anchor": series("anchor", labels, "1", "anchor"), "other": series("other", labels, "1", "other anchor")}


def profiles(found: Mapping[Line, Measured], lines: Sequence[Line]) -> dict[str, dict[str, Variable]]:
    """The profile of each spoke, ``spoke-1`` and so on, over t from its inner end to the anchor."""
    return {
        f"spoke-{number}": profile_variables(found[line].ts, found[line].train, found[line].test)
        | {"t": series("t", np.array(found[line].ts), "1", f"position from the {line[0]} to the anchor, t")}
        for number, line in enumerate(lines, 1)
    }
