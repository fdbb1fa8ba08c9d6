"""Shares of flat directions by kind, as stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rashomon_cli.core.results import Array
from rashomon_cli.figures import style
from rashomon_cli.figures.parts import number
from rashomon_cli.figures.style import Group

KINDS = {
    "symmetry": "symmetry",
    "dead": "dead or constant unit",
    "invisible": "invisible on these examples",
    "visible": "changes outputs, not the loss",
}
LOOKS = {kind: style.look(place) for place, kind in enumerate(KINDS)}
LABEL = "share of the flat directions [%]"
_OPEN = "#BBBBBB"
_ROOM = 0.05  # of the bar, that a mark in it needs


def stacked(
    axes: Axes, points: Sequence[Group], places: Array, width: float, *, lying: bool = False, size: float = 5.0
) -> None:
    """A bar a point, from symmetries up, or to the right; bars of error are of the sums so far.

    What the Lanczos steps leave open, between the ends that they prove, has a shade of its own.

    Args:
        axes: where.
        points: groups with ``flat_share_K_each`` for K in :data:`KINDS`, along ``direction``.
        places: of the bars.
        width: of the bars.
        lying: whether bars lie on their side.
        size: points of the mark of a kind within its part.
    """
    sums, errors, ends = (np.stack(each) for each in zip(*map(_sums, points)))
    low, high = ends.T
    tops = {"symmetry": sums[:, 0], "dead": sums[:, 1], "invisible": low, "visible": np.ones(len(low))}

    def draw(bottom: Array, top: Array, colour: str, label: str = "", edge: str = "none") -> None:
        kept: dict[str, Any] = {"color": colour, "edgecolor": edge, "lw": 0.5, "label": label}
        if lying:
            axes.barh(places, top - bottom, width, bottom, **kept)
        else:
            axes.bar(places, top - bottom, width, bottom, **kept)

    bottom = np.zeros(len(low))
    for kind, top in tops.items():
        how = LOOKS[kind]
        if kind == "visible":
            draw(low, high, _OPEN, "invisible or not: left open" if (high > low).any() else "")
            bottom = high
        draw(bottom, top, how.colour, edge="white")
        fits = top - bottom >= _ROOM
        along, across = places[fits], (top + bottom)[fits] / 2
        axes.plot(*((across, along) if lying else (along, across)), how.marker, color="white", ms=size)
        bottom = top
    for boundary, error in zip(sums.T, np.nan_to_num(errors.T)):
        kept: dict[str, Any] = {"fmt": "none", "ecolor": "black", "elinewidth": 0.9, "capsize": 0.4 * size}
        if lying:
            axes.errorbar(boundary, places, xerr=error, **kept)
        else:
            axes.errorbar(places, boundary, yerr=error, **kept)
    (axes.set_xlim if lying else axes.set_ylim)(0, 1)
    axes.grid(visible=False, axis="y" if lying else "x")


def _sums(point: Group) -> tuple[Array, Array, Array]:
    """Sums of the first one, two and three shares, their standard errors, and the ends proved of the third.

    Shares of one direction sum to 1, so errors of sums are taken over directions.
    """
    each = np.stack([np.atleast_1d(point[f"flat_share_{kind}_each"].values) for kind in KINDS])
    each[0] = np.nan_to_num(each[0])  # symmetries that could not be told are in the others
    each = each[:, np.isfinite(each).all(0)]
    count = each.shape[1]
    if not count:
        return np.full(3, np.nan), np.full(3, np.nan), np.full(2, np.nan)
    sums = np.cumsum(each, axis=0)[:3]
    error = sums.std(1, ddof=1) / count**0.5 if count > 1 else np.zeros(3)
    proved = np.array([number(point, f"flat_share_invisible_{end}") for end in ("low", "high")])
    ends = np.clip(sums[1].mean() + proved, 0.0, 1.0)
    return sums.mean(1), error, ends
