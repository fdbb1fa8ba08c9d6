"""A row a layer, in the order of the network: what the figures by layer have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array
from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group, Look

PANELS = 3
"""Panels beside one another that still leave room for the names of layers."""
LARGEST = 4.5
"""Points of a mark where there is room."""
_MANY, _MOST = 20, 80  # layers from which on rows are narrow, and from which on not every one is named
_BROAD, _NARROW = 0.2, 0.15  # inches of a row
_MARK = 0.32  # of a row
_LANES = 0.56  # of a row, for marks beside one another
_LENGTHS = (40, 32, 24)  # of a name, beside so many panels


def layered(group: Group, name: str) -> bool:
    """Whether a variable was measured layer by layer."""
    return name in group and "layer" in group[name].dims


def frame(group: Group, panels: int, around: float, *, alike: bool = False) -> tuple[Figure, list[Axes]]:
    """An empty figure that grows with the number of layers, the first at the top.

    Args:
        group: has ``layer``, their names.
        panels: that are beside one another and share the rows.
        around: room in inches for what is above and below them.
        alike: whether they share the x axis, too.

    Returns:
        The figure and its panels.
    """
    names = [str(name) for name in style.coordinate(group, "layer").values]
    every = -(-len(names) // _MOST)
    broad = len(names) <= _MANY
    figure = style.new_figure(around + _height(len(names)) * max(len(names), 4))
    axes = list(figure.subplots(1, panels, sharex=alike, sharey=True, squeeze=False)[0])
    length = _LENGTHS[min(panels, len(_LENGTHS)) - 1]
    shown = [style.shorten(name, length) for name in names[::every]]
    axes[0].set_yticks(range(0, len(names), every), shown, fontsize=8 if broad else 6.5)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    return figure, axes


def size(group: Group) -> float:
    """Points of a mark that fits into its row."""
    return min(LARGEST, _MARK * 72 * _height(len(style.coordinate(group, "layer").values)))


def _height(rows: int) -> float:
    """Inches of a row, among so many."""
    return _BROAD if rows <= _MANY else min(_NARROW, _NARROW * _MOST / rows)


def lanes(count: int) -> Array:
    """Where marks beside one another lie in a row (count,), relative to its middle."""
    return _LANES * (np.arange(count) - (count - 1) / 2) / max(count, 2)


def marks(
    axes: Axes,
    values: Array,
    how: Look,
    label: str = "",
    *,
    low: Array | None = None,
    high: Array | None = None,
    hollow: Any = False,
    lane: float = 0.0,
    size: float = LARGEST,
) -> None:
    """A mark in each row, with a bar from one end to the other, which also stands alone where there is no value.

    Args:
        axes: where.
        values: a number a layer (n,); NaN is left out.
        how: colour and marker.
        label: what the legend says.
        low: lower ends (n,), if there are any.
        high: upper ends (n,).
        hollow: which marks are hollow, (n,) or one for all.
        lane: where in a row.
        size: points of a mark.
    """
    rows = np.arange(len(values)) + lane
    if low is not None and high is not None:
        wide = np.isfinite(low) & np.isfinite(high) & (high > low)
        length = np.stack([np.zeros(wide.sum()), (high - low)[wide]])
        kept: dict[str, Any] = {"fmt": "none", "ecolor": how.colour, "elinewidth": 0.9, "capsize": 0.4 * size}
        if wide.any():
            axes.errorbar(low[wide], rows[wide], xerr=length, **kept)
    there = np.isfinite(values)
    for face, chosen in ((how.colour, there & ~np.asarray(hollow)), ("white", there & np.asarray(hollow))):
        if chosen.any():
            axes.plot(values[chosen], rows[chosen], how.marker, color=how.colour, mfc=face, ms=size, ls="none")
    if label:
        axes.plot([], [], how.marker, color=how.colour, ms=LARGEST, ls="none", label=label)


def hollow_means(axes: Axes, words: str) -> None:
    """What the legend says of hollow marks."""
    axes.plot([], [], "o", color=style.GREY, mfc="white", ls="none", label=f"hollow: {words}")


def percent(axes: Axes) -> None:
    """Shares along the x axis as percentages."""
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda share, _: style.plain(round(100 * share, 6))))


def missing(axes: Axes, values: Array, words: str) -> None:
    """Say why a row is empty, in those of layers whose values (…, n) are all NaN."""
    lacking = np.isnan(values.reshape(-1, values.shape[-1])).all(axis=0)
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 6.5}
    for row in np.flatnonzero(lacking):
        axes.text(0.015, float(row), words, color=style.GREY, **place)
