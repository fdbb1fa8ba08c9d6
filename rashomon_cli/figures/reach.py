"""How far the loss stays within ε along directions, both ways: a row a direction, over t along a path, by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rashomon_cli.core.results import Array
from rashomon_cli.figures import layers, style
from rashomon_cli.figures.parts import named, number, parts
from rashomon_cli.figures.style import Group, Look

_KINDS = {"near_null": "near null", "tangent": "tangent", "random": "random", "top": "steepest", "given": "given"}
_NONE = ("", "nan")  # where a point or a layer has fewer directions than another
_TICKS = 11
_SIDES = ("plus", "minus")


@style.styled
def reach(group: Group) -> Figure | None:
    """The reach of each direction, filled along it and hollow against it; where it was cut off, a larger triangle.

    At a single point a stroke marks how far the curvature alone would let the loss rise by ε: √(2ε/vᵀHv). By layer of a
    path there is a panel at both ends and in the middle.

    Args:
        group: variables of the quantity ``reach``, along ``direction`` behind ``t``, ``layer`` or both.

    Returns:
        The figure; None where the group has none.
    """
    sides = [group.get(f"reach_{side}") for side in _SIDES]
    if "reach_kind" not in group or not any(v is not None and np.isfinite(v.values).any() for v in sides):
        return None
    kinds = group["reach_kind"].values.astype(str)
    order = dict.fromkeys(name for name in (*_KINDS, *kinds.ravel()) if name not in _NONE)
    looks = {name: style.look(place) for place, name in enumerate(order) if (kinds == name).any()}
    if layers.layered(group, "reach_kind"):
        return _layers(group, looks)
    return (_rows if kinds.ndim == 1 else _along)(group, kinds, looks)


def _rows(group: Group, kinds: Array, looks: dict[str, Look]) -> Figure:
    """A row a direction, its kinds together."""
    order = [int(row) for name in looks for row in np.flatnonzero(kinds == name)]
    figure = style.new_figure(1.5 + 0.19 * max(len(order), 4))
    axes = figure.subplots()
    places = np.empty(len(kinds))
    places[order] = np.arange(len(order))
    curved = group.get("reach_curvature")
    if curved is not None and "reach_epsilon" in group:
        known = curved.values > 0
        foreseen = np.sqrt(2 * number(group, "reach_epsilon") / np.where(known, curved.values, np.nan))
        foreseen[foreseen > number(group, "reach_max")] = np.nan
        axes.plot(foreseen, places, "|", color="black", ms=11, mew=1.2, label="by curvature alone, √(2ε/vᵀHv)")
    for name, how in looks.items():
        for side in _SIDES:
            _mark(axes, group, side, kinds == name, places, _KINDS.get(name, name), how, upright=False)
    labels = [f"{_KINDS.get(kinds[row], kinds[row])} {row + 1}" for row in order]
    axes.set_yticks(range(len(order)), labels)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel(f"distance until the loss rises by {_amount(group)}")
    _finish(figure, [axes], group, "x")
    return figure


def _along(group: Group, kinds: Array, looks: dict[str, Look]) -> Figure:
    """Over t every direction, kinds side by side, and a line through each kind's median."""
    figure = style.new_figure(3.6)
    axes = figure.subplots()
    t = style.coordinate(group, "t")
    step = float(np.min(np.diff(t.values))) if len(t.values) > 1 else 1.0
    for place, (name, how) in enumerate(looks.items()):
        shift = (place - (len(looks) - 1) / 2) * 0.09 * step
        x = np.broadcast_to((t.values + shift)[:, None], kinds.shape)
        for side, beside in zip(_SIDES, (-0.02, 0.02)):
            _mark(axes, group, side, kinds == name, x + beside * step, _KINDS.get(name, name), how, upright=True)
        middle = _middle(group, kinds == name)
        there = np.isfinite(middle)
        axes.plot((t.values + shift)[there], middle[there], color=how.colour, ls=how.dash, lw=0.9, zorder=1.5)
    if len(t.values) <= _TICKS:
        axes.set_xticks(t.values, [style.plain(float(f"{value:.3g}")) for value in t.values])
    axes.set_xlabel(style.label(t))
    axes.set_ylabel(f"distance until the loss rises by {_amount(group)}")
    axes.plot([], [], color=style.GREY, lw=0.9, label="line: median of a kind")
    _finish(figure, [axes], group, "y")
    return figure


def _layers(group: Group, looks: dict[str, Look]) -> Figure:
    """A row a layer with every direction, kinds one below the other, and strokes at their medians."""
    points = parts(group, "t", "reach_kind", layers.PANELS)
    figure, panels = layers.frame(group, len(points), 1.4, alike=True)
    size = layers.size(group)
    for axes, (t, point) in zip(panels, points):
        kinds = point["reach_kind"].values.astype(str)
        rows = np.arange(len(kinds))
        for (name, how), lane in zip(looks.items(), layers.lanes(len(looks))):
            places = np.broadcast_to(rows[:, None] + lane, kinds.shape)
            for side in _SIDES:
                _mark(axes, point, side, kinds == name, places, _KINDS.get(name, name), how, upright=False, size=size)
            middle = _middle(point, kinds == name)
            axes.plot(middle, rows + lane, "|", color=how.colour, ms=2 * size, mew=1.2)
        values = np.concatenate([point[f"reach_{side}"].values for side in _SIDES], 1)
        layers.missing(axes, values.T, "no reach")
        axes.set_title(named(t))
    panels[0].plot([], [], "|", color=style.GREY, ms=8, mew=1.2, label="stroke: median of a kind")
    panels[len(panels) // 2].set_xlabel(f"distance until the loss rises by {_amount(group)}")
    _finish(figure, panels, group, "x")
    return figure


def _middle(group: Group, own: Array) -> Array:
    """Medians over directions of a kind and both sides (n,); NaN where there is none.

    They are medians of logarithms: between two values that differ much, where the eye sees the middle.
    """
    found = np.full(len(own), np.nan)
    for row, chosen in enumerate(own):
        each = np.concatenate([group[f"reach_{side}"].values[row, chosen] for side in _SIDES])
        if (each > 0).any():
            found[row] = np.exp(np.median(np.log(each[each > 0])))
    return found


def _mark(
    axes: Axes,
    group: Group,
    side: str,
    own: Array,
    places: Array,
    label: str,
    how: Look,
    upright: bool,
    size: float = 4.5,
) -> None:
    """The reaches of one kind to one side."""
    variable = group[f"reach_{side}"]
    values = variable.values[own]
    error = np.zeros(values.shape) if variable.stderr is None else np.nan_to_num(variable.stderr[own])
    cut = group[f"reach_censored_{side}"].values[own] == 1
    face = how.colour if side == "plus" else "white"
    for chosen, marker, points in ((~cut, how.marker, size), (cut, "^" if upright else ">", size + 2.5)):
        if not chosen.any():
            continue
        # Errors to first order may exceed a reach, which has a logarithmic axis.
        bars = np.stack([np.minimum(error, 0.9 * values), error])[:, chosen]
        kept: dict[str, Any] = {"fmt": marker, "color": how.colour, "mfc": face, "ms": points, "capsize": 0.4 * size}
        kept["yerr" if upright else "xerr"] = bars
        x, y = (places[own][chosen], values[chosen]) if upright else (values[chosen], places[own][chosen])
        axes.errorbar(x, y, elinewidth=0.9, **kept)
    axes.plot([], [], how.marker, color=how.colour, ls="none", label=label)


def _finish(figure: Figure, panels: Sequence[Axes], group: Group, which: str) -> None:
    """One scale along x or y for all panels, the cut-off where it was met, and what marks mean."""
    upright = which == "y"
    if any((group[f"reach_censored_{side}"].values == 1).any() for side in _SIDES):
        limit = float(np.nanmax(group["reach_max"].values))
        for axes in panels:
            line = axes.axhline if upright else axes.axvline
            line(limit, color=style.GREY, ls=style.DASHES[1], lw=0.9, label="cut-off")
        _entry(panels[0], "^" if upright else ">", style.GREY, "cut off: at least so far")
    values = np.stack([group[f"reach_{side}"].values for side in _SIDES])
    style.set_scale_from_zero(panels[0].yaxis if upright else panels[0].xaxis, values)
    _entry(panels[0], "o", "white", "hollow: against the direction")
    style.legend(figure, panels, columns=4)


def _entry(axes: Axes, marker: str, face: str, label: str) -> None:
    mark = Line2D([], [], color=style.GREY, marker=marker, mfc=face, ms=6, ls="none", label=label)
    axes.add_line(mark)


def _amount(group: Group) -> str:
    """ε with its unit; it is the same at every position."""
    epsilon = group.get("reach_epsilon")
    if epsilon is None:
        return "ε"
    return f"{np.nanmax(epsilon.values):g}" + (f" {epsilon.units}" if epsilon.units != "1" else "")
