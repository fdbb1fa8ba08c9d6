"""Both ends of a spectrum, and its trace: against the rank at a model, over t along a path, by layer in rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Variable
from rashomon_cli.figures import layers, style
from rashomon_cli.figures.parts import MOST, named, parts
from rashomon_cli.figures.style import Group, Look

_ENDS = {"top": "largest eigenvalues", "bottom": "smallest eigenvalues"}


@style.styled
def spectrum(group: Group) -> Figure | None:
    """The largest and the smallest eigenvalues with their residuals as bars, and the trace with its error.

    Args:
        group: ``eigenvalues_top``, ``residuals_top``, ``eigenvalues_bottom``, ``residuals_bottom`` and ``trace``, of a
            point, along ``t`` or along ``layer``.

    Returns:
        The figure; None where the group has nothing to draw: a trace of a single point is but a number.
    """
    if any(layers.layered(group, name) for name in ("eigenvalues_top", "trace_layer")):
        return _layers(group)
    ends = {end: found for end in _ENDS if (found := _end(group, end)) is not None}
    trace = style.along(group, "trace", "t")
    count = len(ends) + (trace is not None)
    if not count:
        return None
    figure = style.new_figure(3.0)
    grid = figure.subplots(1, count, squeeze=False)[0]
    for axes, (end, found) in zip(grid, ends.items()):
        _ranks(axes, group, end, found)
    if trace is not None:
        t = style.coordinate(group, "t")
        style.draw_series(grid[-1], t.values, trace, "trace", style.look(2))
        style.set_scale(grid[-1].yaxis, [trace])
        grid[-1].set_xlabel(style.label(t))
        grid[-1].set_ylabel(style.label(trace))
    kinds = ["eigenvalue"] * bool(ends) + ["trace"] * (trace is not None)
    style.legend(figure, list(grid), bars=_bars(kinds))
    return figure


def _end(group: Group, end: str) -> Variable | None:
    """Eigenvalues of an end along (rank,) or (t, rank), their residuals as errors."""
    values = group.get(f"eigenvalues_{end}")
    if values is None or not np.isfinite(values.values).any():
        return None
    residuals = group.get(f"residuals_{end}")
    error = None if residuals is None else residuals.values
    return Variable(values.dims, values.values, values.units, values.long_name, error)


def _ranks(axes: Axes, group: Group, end: str, found: Variable) -> None:
    """One end: a dot a rank, or along a path a line a rank, which never cross."""
    how = style.look(list(_ENDS).index(end))
    if found.values.ndim == 1:
        ranks = np.arange(1, len(found.values) + 1)
        style.draw_series(axes, ranks, found, _ENDS[end], how)
        axes.set_xlabel("rank" if end == "top" else "rank from below")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    else:
        t = style.coordinate(group, "t")
        for column in range(found.values.shape[1]):
            one = _column(found, column)
            if np.isfinite(one.values).any():
                style.draw_series(axes, t.values, one, f"{_ENDS[end]}, a line a rank", how)
        axes.set_xlabel(style.label(t))
    style.set_scale(axes.yaxis, [found])
    if (found.values[np.isfinite(found.values)] < 0).any():
        axes.axhline(0, color=style.GREY, lw=0.8, zorder=0.9)
    axes.set_ylabel(style.label(found, "eigenvalue"))


def _layers(group: Group) -> Figure:
    """A row a layer: eigenvalues of its block, or on a path the largest one at each position; the traces beside."""
    panels: dict[str, list[tuple[str, Look, Variable]]] = {"eigenvalue": [], "trace": []}
    for place, (end, words) in enumerate(_ENDS.items()):
        for number, (t, point) in enumerate(parts(group, "t", f"eigenvalues_{end}", MOST)):
            found = _end(point, end)
            if found is not None and t is None:
                panels["eigenvalue"].append((words, style.look(place), found))
            elif found is not None and end == "top":
                panels["eigenvalue"].append((named(t), style.look(number), _column(found, 0)))
    for number, (t, point) in enumerate(parts(group, "t", "trace_layer", MOST)):
        if "trace_layer" in point:
            how = style.look(2 if t is None else number)
            panels["trace"].append((named(t) or "trace", how, point["trace_layer"]))
    panels = {words: found for words, found in panels.items() if found}
    figure, grid = layers.frame(group, len(panels), 1.0)
    for axes, (words, drawn) in zip(grid, panels.items()):
        for label, how, variable in drawn:
            _dots(axes, variable, label, how, layers.size(group))
        style.set_scale(axes.xaxis, [variable for *_, variable in drawn])
        of_path = words == "eigenvalue" and drawn[0][0] not in _ENDS.values()
        axes.set_xlabel(style.label(drawn[0][2], f"largest {words}" if of_path else words))
    style.legend(figure, grid, bars=_bars(panels))
    return figure


def _column(found: Variable, column: int) -> Variable:
    """One rank of eigenvalues along (t or layer, rank)."""
    error = None if found.stderr is None else found.stderr[:, column]
    return Variable(found.dims[:1], found.values[:, column], found.units, found.long_name, error)


def _dots(axes: Axes, variable: Variable, label: str, how: Look, ms: float) -> None:
    """Values of each layer in its row, with their errors."""
    values = variable.values.reshape(len(variable.values), -1)
    rows = np.broadcast_to(np.arange(len(values))[:, None], values.shape).ravel()
    bars = None if variable.stderr is None else np.nan_to_num(variable.stderr.ravel())
    kept: dict[str, Any] = {"fmt": how.marker, "color": how.colour, "mfc": "none", "ms": ms, "capsize": 2}
    axes.errorbar(values.ravel(), rows, xerr=bars, elinewidth=0.9, label=label, **kept)


def _bars(panels: Collection[str]) -> str:
    """What error bars are in these panels."""
    words = {"eigenvalue": "bars: residual", "trace": "±1 standard error"}
    return " of an eigenvalue; ".join(words[name] for name in panels) + (" of a trace" if len(panels) > 1 else "")
