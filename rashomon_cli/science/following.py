"""How far along given directions the actual loss stays within ε, and how it rises on the way.

A zero of the Hessian is not yet a flat direction (Post R, step 6): ``x²``, ``x⁴`` and ``x²y²`` along an axis differ in
the reach, ``√(ε)``, ``ε^¼`` and unlimited, and in the order that carries the rise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array, Result, Variable, scalar, series
from rashomon_cli.science.crossings import along, crossing, example_losses
from rashomon_cli.science.evaluation import standard_error
from rashomon_cli.science.orders import ORDERS, Orders, fit
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent

SIDES = {"plus": 1.0, "minus": -1.0}
NODES = 6
FRACTIONS: Array = np.cos(np.pi * (2 * np.arange(NODES) + 1) / (4 * NODES))
"""Where losses are fitted, as shares of the reach: the Chebyshev nodes, of which the outermost, 0.991, lies inside."""


def follow(
    problem: Problem,
    point: Point,
    units: Tensor,
    kinds: Sequence[str],
    *,
    batches: Batches,
    epsilon: float,
    maximum: float,
    refreshed: bool = False,
    tick: Tick = silent,
) -> Result:
    """Follow the loss of a sample along directions and their opposites.

    The search is that of :func:`~rashomon_cli.science.crossings.crossing`. Within ε means above the point's loss by no
    more: a loss that falls is within. Then orders 1 to 4 are fitted to the loss at 6 distances a side,
    :data:`FRACTIONS` of the reach of that side, both sides together.

    Args:
        problem: the model and loss.
        point: where; it need not be a minimum.
        units: unit vectors (k, P); a row of zeros is a direction that does not exist here: NaN.
        kinds: a word for each.
        batches: the examples, the same at every distance.
        epsilon: rise of the loss that is allowed, > 0.
        maximum: distance at which the search is cut off.
        refreshed: whether BatchNorm statistics are made anew on the same examples at every distance; else those of the
            point are kept.
        tick: called after each batch.

    Returns:
        Along ``direction``: ``reach_plus`` and ``reach_minus``, with standard errors over examples to first order (the
        rise's, over the slope of a fit to that side; NaN where there is no slope); ``reach_censored_S``, 1 where the
        search of that side was cut off, so that the reach is a lower bound; ``reach_order_1`` … ``reach_order_4``, the
        coefficients of the fit, see :func:`~rashomon_cli.science.orders.fit`; ``reach_fit_residual``;
        ``reach_leading_order``, see :meth:`~rashomon_cli.science.orders.Orders.leading`; ``reach_kind``. Besides
        ``reach_loss``, ``reach_epsilon`` and ``reach_max``.

    Raises:
        ValueError: if there is not one word for each direction.
    """
    if len(kinds) != len(units):
        raise ValueError(f"{len(kinds)} kinds for {len(units)} directions")
    losses = example_losses(problem, point, batches, refreshed, tick)
    start = losses(point.theta)
    found = [
        _follow(losses, point.theta, unit, start, epsilon, maximum, batches.population) if bool(unit.any()) else _ABSENT
        for unit in units
    ]
    return Result(_variables(found, kinds, float(start.mean()), epsilon, maximum))


@dataclass(frozen=True)
class _Ray:
    """What was found along one direction; each pair is for the two sides."""

    reach: tuple[float, float]
    stderr: tuple[float, float]
    censored: tuple[float, float]
    orders: Orders
    leading: float


_NOTHING = (math.nan, math.nan)
_ABSENT = _Ray(_NOTHING, _NOTHING, _NOTHING, Orders(np.full(ORDERS, math.nan), np.full(ORDERS, math.nan), math.nan), 0)


def _follow(
    losses: Callable[[Tensor], Tensor],
    theta: Tensor,
    unit: Tensor,
    start: Tensor,
    epsilon: float,
    maximum: float,
    population: int,
) -> _Ray:
    """Search both sides of a direction, then fit."""
    base = float(start.mean())
    ends = [crossing(along(losses, theta, sign * unit, base), epsilon, maximum) for sign in SIDES.values()]
    distances = np.concatenate([sign * end[0] * FRACTIONS for sign, end in zip(SIDES.values(), ends)])
    rises = torch.stack([losses(theta + float(s) * unit) - start for s in distances])
    orders = fit(distances, rises.numpy(), population)
    errors = []
    for row, (sign, (reach, censored)) in enumerate(zip(SIDES.values(), ends)):
        own = slice(row * NODES, (row + 1) * NODES)  # one polynomial for both may fit the shorter side badly
        slope = sign * fit(distances[own], rises[own].numpy(), population).slope(sign * reach)
        known = not censored and slope > 0
        errors.append(standard_error(rises[own.start], population) / slope if known else math.nan)
    widest = max(reach for reach, _ in ends)
    return _Ray(
        (ends[0][0], ends[1][0]),
        (errors[0], errors[1]),
        (ends[0][1], ends[1][1]),
        orders,
        orders.leading(widest, epsilon),
    )


def _variables(
    found: Sequence[_Ray], kinds: Sequence[str], loss: float, epsilon: float, maximum: float
) -> dict[str, Variable]:
    """What was found, along ``direction``."""
    variables = {
        "reach_loss": scalar(loss, "nat", "loss on the sample of the reach"),
        "reach_epsilon": scalar(epsilon, "nat", "rise of the loss at which a reach ends"),
        "reach_max": scalar(maximum, "1", "distance at which a reach is cut off"),
        "reach_kind": series("direction", np.array(list(kinds), dtype=str), "1", "what the direction is"),
    }
    for number, (side, words) in enumerate(zip(SIDES, ("along the direction", "against the direction"))):
        values = np.array([ray.reach[number] for ray in found])
        errors = np.array([ray.stderr[number] for ray in found])
        cut = np.array([ray.censored[number] for ray in found])
        variables[f"reach_{side}"] = series("direction", values, "1", f"reach {words}", errors)
        variables[f"reach_censored_{side}"] = series("direction", cut, "1", f"1 where the reach {words} was cut off")
    for order in range(ORDERS):
        values = np.array([ray.orders.coefficients[order] for ray in found])
        errors = np.array([ray.orders.stderr[order] for ray in found])
        about = f"coefficient of order {order + 1} of the loss along the direction, within the reach"
        variables[f"reach_order_{order + 1}"] = series("direction", values, "nat", about, errors)
    left = np.array([ray.orders.residual for ray in found])
    leading = np.array([ray.leading for ray in found])
    variables["reach_fit_residual"] = series("direction", left, "nat", "root mean square of what orders 1 to 4 leave")
    variables["reach_leading_order"] = series("direction", leading, "1", "order that carries the rise; 0 for none")
    return variables
