"""Which models are joined: barriers of the lowest known paths, and how pieces merge as the loss rises."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array
from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group

_NAME_LENGTH = 22
_WRITTEN = 12
_JOINED = 3
_SYMMETRY = "_up_to_symmetry"
_LUMINANCE = (0.2126, 0.7152, 0.0722)


@style.styled
def graph(group: Group) -> Figure | None:
    """A square of barriers, written with the kind of the path, and a tree of merging pieces in the same rows.

    Where paths to aligned copies are lower, the half below the diagonal holds the barriers up to symmetry.

    Args:
        group: matrices ``barrier_loss``, ``best_kind`` and ``state`` along ``model`` and ``other``, and where there are
            aligned copies the same with ``_up_to_symmetry``; along ``model`` its names and ``train_loss``; along
            ``merge`` the level and the two models; ``epsilon``.

    Returns:
        The figure; None where the group has no such matrix.
    """
    barrier = group.get("barrier_loss")
    if barrier is None or barrier.dims != ("model", "other") or not np.isfinite(barrier.values).any():
        return None
    order = _leaves(group)
    height = len(order) * float(np.clip(3.0 / len(order), 0.16, 0.6))
    figure = style.new_figure(1.5 + height)
    square, tree = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    _square(figure, square, group, order)
    names = [style.shorten(str(name), _NAME_LENGTH) for name in group["model"].values[order]]
    square.set_yticks(range(len(order)), [f"{name}  {row + 1}" for row, name in enumerate(names)])
    square.set_ylim(len(order) - 0.5, -0.5)
    _tree(tree, group, order)
    style.legend(figure, [tree], "outside lower center", columns=4)
    return figure


def _leaves(group: Group) -> Array:
    """An order of the models in which no two branches of the tree cross."""
    pieces: list[list[int]] = [[model] for model in range(len(group["model"].values))]
    for one, other in zip(group["merge_one"].values, group["merge_other"].values):
        first = next(piece for piece in pieces if one in piece)
        second = next(piece for piece in pieces if other in piece)
        pieces.remove(second)
        first += second
    return np.array([model for piece in pieces for model in piece])


def _square(figure: Figure, axes: Axes, group: Group, order: Array) -> None:
    barrier = group["barrier_loss"]
    values, kinds, states = (_halves(group, name, order) for name in ("barrier_loss", "best_kind", "state"))
    epsilon, count = float(group["epsilon"].values), len(order)
    # The colour changes at ε, so that what is joined is seen without reading numbers.
    scale = TwoSlopeNorm(max(epsilon, 1e-9), 0.0, max(float(np.nanmax(values)), 2 * epsilon, 1e-6))
    colours = colormaps["RdBu_r"].with_extremes(bad="#CCCCCC")
    rows = np.arange(count)
    mesh = axes.pcolormesh(rows, rows, np.ma.masked_invalid(values), cmap=colours, norm=scale)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    ticks = rows if count <= 20 else rows[4::5]
    axes.set_xticks(ticks, [str(tick + 1) for tick in ticks])
    below = "; below the diagonal: up to symmetry" if _has_symmetry(group) else ""
    axes.set_xlabel(f"model, by its number{below}")
    bar = figure.colorbar(mesh, ax=axes, location="top", aspect=30, shrink=0.9)
    bar.set_label(style.label(barrier, f"{barrier.long_name}, white at ε"), labelpad=5)
    low, high = bar.ax.get_xlim()
    marks = sorted({0.0, epsilon, *(m for m in np.linspace(low, high, 4)[1:] if m > 1.5 * epsilon)})
    bar.set_ticks(marks, labels=[style.plain(float(f"{mark:.2g}")) for mark in marks])
    if count > _WRITTEN:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "black" if np.dot(colours(float(scale(value)))[:3], _LUMINANCE) > 0.45 else "white"
            strong = "bold" if states[row, column] == _JOINED else "normal"
            text = f"{kinds[row, column]}\n{style.plain(float(f'{value:.2g}'))}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7, weight=strong)


def _has_symmetry(group: Group) -> bool:
    """Whether a path to an aligned copy is the lowest known one of a pair."""
    kinds = group.get(f"best_kind{_SYMMETRY}")
    return kinds is not None and bool((kinds.values != group["best_kind"].values).any())


def _halves(group: Group, name: str, order: Array) -> Array:
    """A symmetric matrix in an order of the models; below the diagonal that up to symmetry, where there is one."""
    at = np.ix_(order, order)
    strict: Array = group[name].values[at]
    if not _has_symmetry(group):
        return strict
    return np.where(np.tri(len(order), k=-1, dtype=bool), group[f"{name}{_SYMMETRY}"].values[at], strict)


def _tree(axes: Axes, group: Group, order: Array) -> None:
    """Each model from its own loss on; two pieces are joined at the level at which they merge."""
    losses = group["train_loss"]
    row = {int(model): float(place) for place, model in enumerate(order)}
    ends = {int(model): (row[int(model)], float(losses.values[model])) for model in order}
    root = {int(model): int(model) for model in order}
    levels = group["merge_level"]
    dark = style.COLOURS[0]
    for one, other, level in zip(group["merge_one"].values, group["merge_other"].values, levels.values):
        first, second = root[int(one)], root[int(other)]
        (y0, x0), (y1, x1) = ends[first], ends[second]
        axes.plot([x0, level, level, x1], [y0, y0, y1, y1], color=dark, label="pieces, and where they merge")
        ends[first] = ((y0 + y1) / 2, float(level))
        root = {model: first if its == second else its for model, its in root.items()}
    axes.plot(losses.values[order], range(len(order)), "o", color=dark, ms=4, label="model's own loss")
    line = float(losses.values.min()) + float(group["epsilon"].values)
    axes.axvline(line, color=style.GREY, ls="--", label="lowest loss + ε")
    style.set_scale(axes.xaxis, [losses, levels])
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(style.label(losses, "highest loss on the way"))
