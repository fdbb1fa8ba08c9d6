"""How alike models predict, pair by pair, with each model's own loss and accuracy in the same row."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib import colormaps, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array, Variable
from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group

_BESIDE = ("test_loss", "test_accuracy")
_WRITTEN = 12
_NAME_LENGTH = 26
_MOST_FAMILIES = 12


@style.styled
def heatmap(group: Group, data: str, name: str = "cosine") -> Figure | None:
    """A square of similarities in the stored order; lines part the families.

    Args:
        group: the matrix along ``model`` and ``other``; along ``model`` its names, ``family``, ``test_loss`` and
            ``test_accuracy`` where known.
        data: what the models predicted.
        name: name of the matrix.

    Returns:
        The figure; None where the group has no such matrix.
    """
    matrix = group.get(name)
    if matrix is None or matrix.values.ndim != 2 or not np.isfinite(matrix.values).any():
        return None
    count = len(matrix.values)
    beside = [variable for key in _BESIDE if (variable := style.along(group, key, "model")) is not None]
    families = group["family"].values if "family" in group else np.zeros(count)
    if len(set(families)) in {1, count} or len(set(families)) > _MOST_FAMILIES:
        families = np.full(count, "")
    height = count * float(np.clip(3.0 / count, 0.142, 0.5))
    figure = style.new_figure(1.6 + height)
    widths = [3.4, *[1.0 for _ in beside]]
    grid = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
    _square(figure, grid[0], matrix, data, pad=0.1 / height)
    names = [style.shorten(str(model), _NAME_LENGTH) for model in style.coordinate(group, matrix.dims[0]).values]
    grid[0].set_yticks(range(count), [f"{name}  {row + 1}" for row, name in enumerate(names)])
    grid[0].set_ylim(count - 0.5, -0.5)
    for axes, variable in zip(grid[1:], beside):
        _rows(axes, variable, families)
    edges = np.flatnonzero(families[1:] != families[:-1]) + 0.5
    for edge in edges if len(edges) < len(set(families)) else ():  # none where the order mixes the families
        grid[0].axvline(edge, color="white", lw=1.5)
        grid[0].axhline(edge, color="white", lw=1.5)
        for axes in grid[1:]:
            axes.axhline(edge, color=style.GREY, lw=0.6)
    if len(grid) > 1:
        style.legend(figure, [grid[1]], "outside lower center", columns=3)
    return figure


def _square(figure: Figure, axes: Axes, matrix: Variable, data: str, pad: float) -> None:
    values = np.asarray(matrix.values, dtype=np.float64)
    count = len(values)
    rows = np.arange(count)
    low, high = np.floor(np.nanmin(values) * 20) / 20, np.ceil(np.nanmax(values) * 20) / 20
    high = max(high, low + 0.05)
    colours = colormaps["viridis"].with_extremes(bad="#CCCCCC")
    mesh = axes.pcolormesh(rows, rows, np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    ticks = rows if count <= 20 else rows[4::5]
    axes.set_xticks(ticks, [str(tick + 1) for tick in ticks])
    axes.set_xlabel("model, by its number")
    bar = figure.colorbar(mesh, ax=axes, location="top", aspect=30, shrink=0.9, pad=pad)
    words = f"{matrix.long_name} on {data}"
    if matrix.stderr is not None and np.isfinite(matrix.stderr).any():
        words += f" (standard error ≤ {np.nanmax(matrix.stderr):.1g})"
    bar.set_label(style.label(matrix, textwrap.fill(words, 52)), labelpad=5)
    bar.ax.xaxis.set_major_locator(ticker.MaxNLocator(5))
    if count <= _WRITTEN:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = "black" if value > low + 0.55 * (high - low) else "white"
                axes.text(column, row, _short(value), ha="center", va="center", color=ink, fontsize=8)


def _rows(axes: Axes, variable: Variable, families: Array) -> None:
    """A dot a model, in its row; colour and marker tell the family."""
    for index, family in enumerate(dict.fromkeys(families)):
        rows = np.flatnonzero(families == family)
        how = style.look(index)
        axes.errorbar(
            variable.values[rows],
            rows,
            xerr=None if variable.stderr is None else np.nan_to_num(variable.stderr[rows]),
            fmt=how.marker,
            color=how.colour,
            ms=3.5,
            capsize=1.5,
            elinewidth=0.9,
            label=style.shorten(str(family), _NAME_LENGTH) or None,
        )
    axes.margins(x=0.15)
    low, high = axes.get_xlim()
    found = np.asarray(ticker.MaxNLocator(4, min_n_ticks=2).tick_values(low, high))
    inside = found[(found >= low) & (found <= high)]
    axes.set_xticks(np.unique(inside[[0, -1]]))
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.set_xlabel("\n".join(textwrap.wrap(style.label(variable), 15)), fontsize=8)


def _short(value: float) -> str:
    text = f"{value:.2f}".replace("-", "−")
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text.removesuffix(".00")
