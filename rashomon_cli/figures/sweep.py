"""Barriers between models against the size of their network, with intervals over pairs of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array, Variable
from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group, Look

_WAYS = {
    "naive": "line",
    "reset": "line, reset",
    "aligned": "line, aligned",
    "aligned_reset": "line, aligned and reset",
    "curve": "Bezier curve",
}
_SPLITS = {"train": Look(style.COLOURS[5], "v"), "test": Look(style.COLOURS[6], "P", style.DASHES[1])}
_SIZE = "parameters_per_constraint"
_ASIDE = 1.03  # so that the bars of one width do not hide each other
_NEAR = 10.0


@style.styled
def sweep(group: Group) -> Figure | None:
    """The barrier of each way from one model to the other, and beside it how well the models were trained.

    Args:
        group: along ``width``: the width multiplier, ``parameters_per_constraint``, ``barrier_loss_<way>``,
            ``<split>_loss`` and ``<split>_accuracy``, each with ``_interval``.

    Returns:
        The figure; None where there is no such barrier.
    """
    size = style.along(group, _SIZE, "width")
    ways = {way: v for way in _WAYS if (v := _bounded(group, f"barrier_loss_{way}")) is not None}
    if size is None or not ways:
        return None
    figure = style.new_figure(4.4)
    grid = figure.subplot_mosaic(
        [["barrier", "loss"], ["barrier", "accuracy"]], sharex=True, gridspec_kw={"width_ratios": (1.5, 1)}
    )
    for index, (way, words) in enumerate(_WAYS.items()):
        if way in ways:
            beside = size.values * _ASIDE ** (index - len(_WAYS) // 2)
            style.draw_series(grid["barrier"], beside, ways[way], words, style.look(index))
    _scale(grid["barrier"], list(ways.values()))
    grid["barrier"].set_ylabel(style.label(next(iter(ways.values())), "barrier in training loss"))
    for quantity in ("loss", "accuracy"):
        _quality(grid[quantity], group, size.values, quantity)
    for axes in grid.values():
        _along(axes, size.values)
    grid["barrier"].set_xlabel("parameters over examples × outputs, P/(N·C)")
    grid["accuracy"].set_xlabel("P/(N·C)")
    grid["loss"].tick_params(labelbottom=False)
    _multipliers(grid["barrier"], size.values, group["width"].values)
    style.legend(figure, list(grid.values()), columns=4, bars="95 % t interval over pairs")
    return figure


def _bounded(group: Group, name: str) -> Variable | None:
    """A mean over pairs with half its interval as the length of its bars; none of a single pair."""
    found, interval = style.along(group, name, "width"), style.along(group, f"{name}_interval", "width")
    return None if found is None else replace(found, stderr=None if interval is None else interval.values)


def _scale(axes: Axes, drawn: Sequence[Variable]) -> None:
    """The scale that suits the means; on a logarithmic one the bars of what may be 0 end at the panel's edge."""
    means = [replace(variable, stderr=None) for variable in drawn]
    style.set_scale(axes.yaxis, means)
    if axes.get_yscale() == "log":
        axes.set_ylim(bottom=min(np.nanmin(variable.values) for variable in means) / 2)


def _quality(axes: Axes, group: Group, sizes: Array, quantity: str) -> None:
    """Loss or accuracy of the models themselves on both splits."""
    found = {split: v for split in _SPLITS if (v := _bounded(group, f"{split}_{quantity}")) is not None}
    if not found:
        axes.set_axis_off()
        return
    for split, variable in found.items():
        style.draw_series(axes, sizes, variable, f"models, {split}", _SPLITS[split])
    if quantity == "loss":
        _scale(axes, list(found.values()))
    axes.set_ylabel(style.label(next(iter(found.values())), quantity))


def _along(axes: Axes, sizes: Array) -> None:
    """A logarithmic axis of sizes, with the one at which all outputs can just be fitted where that is near."""
    axes.set_xscale("log")
    low, high = np.nanmin(sizes), np.nanmax(sizes)
    if low / _NEAR < 1 < high * _NEAR:
        axes.axvline(1, color=style.GREY, ls=style.DASHES[2], lw=0.9, label="P = N·C")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 1e2 * low else (1,)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(style.plain))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def _multipliers(axes: Axes, sizes: Array, factors: Array) -> None:
    """The width multipliers above a panel, at their sizes."""
    above = axes.secondary_xaxis("top")
    above.set_xticks(sizes, [f"{style.plain(factor)}×" for factor in factors])
    above.xaxis.set_minor_locator(ticker.NullLocator())
    above.set_xlabel("width")
