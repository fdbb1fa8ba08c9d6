"""A ledger of flat directions: why is the loss flat along them, and what do they do to predictions elsewhere?

Each near-null direction is split among nested spaces: that of the network's symmetries; that together with what dead
and constant units leave free; all that changes outputs on the examples by no more than a tolerance; all directions. The
squared lengths of the four parts of a unit vector sum to 1. For directions drawn evenly from the flat ones, the mean of
a part is its space's share in their dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array, Result, Variable, scalar, series
from rashomon_cli.science.curvature import random_units
from rashomon_cli.science.evaluation import standard_error
from rashomon_cli.science.idle import Idle
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.deflation import orthonormal
from rashomon_cli.science.spectra.matrices import Matrix
from rashomon_cli.science.visibility import STEPS, Blind, blind, prediction_changes

KINDS = {
    "symmetry": "symmetries",
    "dead": "dead and constant units",
    "invisible": "what changes outputs on these examples by no more than flat_tolerance",
    "visible": "what changes outputs, but not the loss",
}
_LEAST_SHARE = 1e-6  # of a part that is long enough to have a direction
_DEPENDENT = 1e-6  # sine of the angle to a space below which a direction lies in it
_YARDSTICKS = 4


def ledger(
    problem: Problem,
    point: Point,
    rows: Tensor,
    *,
    responses: Matrix,
    tolerance: float,
    batches: Batches,
    other: Batches | None = None,
    symmetry: Tensor | None = None,
    free: Idle | None = None,
    steps: int = STEPS,
    step: float = 0.01,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """Say of flat directions what makes them flat, and how much they change predictions.

    Errors of shares are over directions, ``s/√k``; those of changes join the spread over directions and that over
    examples. A part of which less than 1e-6 of the squared length is there has no change.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        rows: flat directions (k, P), as of :func:`~rashomon_cli.science.spectra.filters.near_null`; a row of zeros is a
            direction that does not exist: NaN.
        responses: Gauss-Newton matrix of :func:`~rashomon_cli.science.visibility.responding` on ``batches``.
        tolerance: change of outputs per unit step up to which it counts as none, as of
            :func:`~rashomon_cli.science.visibility.visible_change`.
        batches: the examples on which the directions are flat.
        other: examples of other data, if there are any: targets are not looked at.
        symmetry: directions of symmetries (s, P); where they are not known, None, their share is NaN, and what they
            hold is in the others, for the most part in what changes no output.
        free: what dead and constant units leave free; none is looked for where None.
        steps: of Lanczos with R for each direction, at most.
        step: distance over which changes of predictions are taken.
        seed: of random directions, whose changes are the yardstick.
        tick: called after each batch.

    Returns:
        For K in :data:`KINDS`: ``flat_share_K``, the mean over directions, and ``flat_share_K_each`` along
        ``direction``; ``flat_change_K``, the mean over parts and examples of ``‖Δp‖₂`` per unit step on these examples,
        ``flat_change_other_K`` on the other data; both also for K ``random``. ``flat_share_invisible_low`` and
        ``_high``: what the Lanczos steps prove; ``flat_dimension_symmetry`` and ``flat_dimension_dead`` of the first
        space and of what the second adds; ``flat_tolerance``.
    """
    there = rows.any(dim=1)
    wide = rows[there].double()
    wide = wide / wide.norm(dim=1, keepdim=True)
    parts, unseen, dimensions = _split(wide, responses, tolerance, symmetry, free, steps, seed)
    found = {
        "flat_tolerance": scalar(unseen.tolerance, "1", "change of outputs per unit step that counts as none"),
        "flat_dimension_symmetry": count(
            math.nan if symmetry is None else dimensions[0], "dimension of the symmetries"
        ),
        "flat_dimension_dead": count(dimensions[1], "what dead and constant units add to it"),
    }
    for side, squares in (("low", unseen.low), ("high", unseen.high)):
        about = f"share of {KINDS['invisible']}: {side} end of what is proved"
        found[f"flat_share_invisible_{side}"] = scalar(_share(squares)[0], "1", about)
    for kind, part in parts.items():
        each = np.full(len(rows), math.nan)
        if kind != "symmetry" or symmetry is not None:
            each[there.cpu().numpy()] = part.square().sum(1).cpu().numpy()
        value, error = _share(each[np.isfinite(each)])
        about = f"share of {KINDS[kind]}"
        found[f"flat_share_{kind}"] = scalar(value, "1", about, error)
        found[f"flat_share_{kind}_each"] = series("direction", each, "1", f"{about}, of each direction")
    sets = {"": batches} | ({} if other is None else {"_other": other})
    units = {kind: _units(part).to(point.theta) for kind, part in parts.items()}
    units["random"] = random_units(point.theta, _YARDSTICKS, seed)
    for suffix, examples in sets.items():
        found |= _changes(problem, point, units, examples, suffix, step, tick)
    return Result(found)


def _split(
    wide: Tensor,
    responses: Matrix,
    tolerance: float,
    symmetry: Tensor | None,
    free: Idle | None,
    steps: int,
    seed: int,
) -> tuple[dict[str, Tensor], Blind, tuple[int, int]]:
    """The four parts of unit vectors (k, P), how the third was found, and dimensions of the first two."""
    own = orthonormal(wide[:0] if symmetry is None else symmetry.to(wide.device))
    moved = (wide @ own.T) @ own
    dead, added = (moved, 0) if free is None else _joined(wide, own, free.project)
    quiet = dead if free is None else _joined(wide, own, free.unseen)[0]
    rest = wide - quiet
    rest[rest.square().sum(1) < _LEAST_SHARE**2] = 0.0
    unseen = blind(responses, rest, tolerance, steps=steps, seed=seed)
    parts = {
        "symmetry": moved,
        "dead": dead - moved,
        "invisible": quiet - dead + unseen.parts,
        "visible": rest - unseen.parts,
    }
    exact = (quiet - dead).square().sum(1).cpu().numpy()
    unseen = replace(unseen, low=unseen.low + exact, high=unseen.high + exact)
    return parts, unseen, (len(own), added + (0 if free is None else free.dimension - len(own)))


def _joined(vectors: Tensor, own: Tensor, project: Callable[[Tensor], Tensor]) -> tuple[Tensor, int]:
    """Parts of vectors (k, P) in the sum of two spaces, given by a basis and a projection; what the basis adds."""
    _, sizes, turned = torch.linalg.svd(own - project(own), full_matrices=False)
    beside = turned[sizes > _DEPENDENT]
    return project(vectors) + (vectors @ beside.T) @ beside, len(beside)


def _units(part: Tensor) -> Tensor:
    """Directions of those parts (k, P) that are long enough to have one."""
    there = part[part.square().sum(1) >= _LEAST_SHARE]
    found: Tensor = there / there.norm(dim=1, keepdim=True)
    return found


def _changes(
    problem: Problem, point: Point, units: Mapping[str, Tensor], examples: Batches, suffix: str, step: float, tick: Tick
) -> dict[str, Variable]:
    """Mean changes of predictions along each kind's directions, and along random ones."""
    seen = prediction_changes(problem, point, torch.cat(list(units.values())), examples, step, tick)
    found = {}
    data = "other data" if suffix else "these examples"
    for kind, own in zip(units, torch.split(seen, [len(each) for each in units.values()])):
        about = f"change of predictions on {data} per unit step along {KINDS.get(kind, 'random directions')}"
        value, error = _mean(own, examples.population)
        found[f"flat_change{suffix}_{kind}"] = scalar(value, "1", about, error)
    return found


def _share(squares: Array) -> tuple[float, float]:
    """Mean of squared lengths over directions (k,) with its standard error; NaN of too few."""
    if not len(squares):
        return math.nan, math.nan
    error = float(np.std(squares, ddof=1)) / math.sqrt(len(squares)) if len(squares) > 1 else math.nan
    return float(np.mean(squares)), error


def _mean(changes: Tensor, population: int) -> tuple[float, float]:
    """Mean over directions and examples (k, n) with its standard error; NaN without a direction."""
    if len(changes) == 0:
        return math.nan, math.nan
    between = float(changes.mean(1).std()) / math.sqrt(len(changes)) if len(changes) > 1 else math.nan
    return float(changes.mean()), math.hypot(between, standard_error(changes.mean(0), population))


def count(value: float, words: str) -> Variable:
    """A number of things."""
    return Variable((), np.asarray(value), "1", words)
