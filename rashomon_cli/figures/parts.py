"""A group of a path, or of a matrix by layer, as groups of single points or layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from rashomon_cli.core.results import Array, entry
from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group

MOST = 5
"""Curves of a panel that are still told apart."""


def parts(group: Group, dim: str, name: str, most: int | None = None) -> list[tuple[Any, Group]]:
    """What a group says at each position along its variables' first dimension.

    Args:
        group: the variables.
        dim: the dimension, ``t`` or ``layer``.
        name: the variable that is to be drawn.
        most: so many positions at most, equally spaced, both ends included.

    Returns:
        The coordinate and the group without the dimension, for each position; the coordinate None and the whole group
        where the variable does not run along the dimension.
    """
    variable = group.get(name)
    if variable is None or variable.dims[:1] != (dim,):
        return [(None, group)]
    places = np.arange(len(variable.values))
    if most is not None:
        places = spaced(len(places), most)
    at = style.coordinate(group, dim).values
    return [(at[place], entry(group, dim, int(place))) for place in places]


def spaced(count: int, most: int) -> Array:
    """Numbers below ``count``, at most so many of them, equally spaced with both ends."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def named(t: Any) -> str:
    """A position in words; none of a single model."""
    return "" if t is None else f"t = {t:.3g}"


def number(group: Group, name: str) -> float:
    """A scalar of a group; NaN where it has none."""
    variable = group.get(name)
    return np.nan if variable is None or variable.values.ndim else float(variable.values)
