"""What happened while a model was trained or pruned: losses by epoch, the guard's trace, the weights kept by layer."""

from __future__ import annotations

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group, Look

_LOOKS = {
    "train": Look(style.COLOURS[0]),
    "test": Look(style.COLOURS[1], "s", style.DASHES[1]),
    "optimised": Look(style.GREY, "^", style.DASHES[2], filled=False),
    "mean": Look(style.GREY, "^", style.DASHES[2], filled=False),
    "watched": Look(style.COLOURS[2], "s", style.DASHES[0]),
}
_WORDS = {"optimised": "train, as optimised", "mean": "train, as optimised", "watched": "barrier, on a small sample"}
_MOST_LABELS = 60


@style.styled
def curves(group: Group) -> Figure | None:
    """Loss, accuracy, and the barrier of a path as it trains, by epoch, a panel each.

    Args:
        group: variables along ``epoch``: ``<split>_loss``, ``<split>_accuracy`` and ``watched_barrier``.

    Returns:
        The figure; None where there is no such variable.
    """
    panels = {
        quantity: found
        for quantity in ("loss", "accuracy", "barrier")
        if (found := {s: v for s in _LOOKS if (v := style.along(group, f"{s}_{quantity}", "epoch"))})
    }
    if not panels:
        return None
    figure = style.new_figure(2.9)
    epoch = style.coordinate(group, "epoch")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (quantity, found) in zip(grid, panels.items()):
        for split, variable in found.items():
            style.draw_series(axes, epoch.values, variable, _WORDS.get(split, split), _LOOKS[split])
        if quantity == "loss":
            style.set_scale(axes.yaxis, list(found.values()))
        axes.set_xlabel(style.label(epoch))
        axes.set_ylabel(style.label(next(iter(found.values())), quantity))
        axes.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    style.legend(figure, list(grid))
    return figure


@style.styled
def guard(group: Group) -> Figure | None:
    """The guarded loss by step, and the limit that it must not pass.

    Args:
        group: ``step`` and ``loss`` along ``check``; scalars ``start_loss`` and ``epsilon`` where there is a limit.

    Returns:
        The figure; None where there is no loss.
    """
    loss = style.along(group, "loss", "check")
    if loss is None:
        return None
    step = style.along(group, "step", "check") or style.coordinate(group, "check")
    figure = style.new_figure(2.9)
    axes = figure.subplots()
    style.draw_series(axes, step.values, loss, "loss", Look(style.COLOURS[0]))
    style.set_scale(axes.yaxis, [loss])
    if "start_loss" in group:
        start = float(group["start_loss"].values)
        axes.axhline(start, color=style.GREY, ls=style.DASHES[2], label="at the start")
        if "epsilon" in group:
            limit = start + float(group["epsilon"].values)
            axes.axhline(limit, color=style.COLOURS[1], ls=style.DASHES[1], label=f"limit: start + ε = {limit:.3g}")
    axes.set_xlabel(style.label(step))
    axes.set_ylabel(style.label(loss))
    style.legend(figure, [axes])
    return figure


@style.styled
def density(group: Group) -> Figure | None:
    """The share of weights kept in each layer, with its number of weights at the right.

    Args:
        group: ``density`` along ``layer``; ``layer`` (names) and ``weights`` where known.

    Returns:
        The figure; None where there is no density.
    """
    kept = style.along(group, "density", "layer")
    if kept is None:
        return None
    names = [str(name) for name in style.coordinate(group, "layer").values]
    every = -(-len(names) // _MOST_LABELS)
    rows = np.arange(len(names))
    figure = style.new_figure(0.9 + 0.17 * min(max(len(names), 4), _MOST_LABELS))
    axes = figure.subplots()
    axes.barh(rows, kept.values, height=0.75, color=style.COLOURS[0])
    axes.set_yticks(rows[::every], [style.shorten(name, 40) for name in names[::every]])
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel=style.label(kept), ylabel="layer")
    axes.grid(visible=False, axis="y")
    weights = style.along(group, "weights", "layer")
    if weights is not None:
        right = axes.secondary_yaxis("right")
        right.set_yticks(rows[::every], [f"{int(count):,}" for count in weights.values[::every]])
        right.set_ylabel(style.label(weights))
        right.tick_params(length=0)
    return figure
