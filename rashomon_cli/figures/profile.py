"""Loss and error along a path, against the straight line where that was evaluated too."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group

_SPLITS = ("train", "test")
_QUANTITIES = ("loss", "error")


@style.styled
def profile(paths: Mapping[str, Group], segments: Group | None = None) -> Figure | None:
    """One row for the loss and one for the error; one column a split, a scale for each panel.

    Args:
        paths: for each path, in the words of the legend: variables along ``t``, ``<split>_loss`` and ``<split>_error``.
        segments: of the first path, where they have names: ``segment``, ``begin`` and ``end``.

    Returns:
        The figure; None where no path has such a variable.
    """
    cells = {
        (quantity, split): {
            path: variable
            for path, group in paths.items()
            if (variable := style.along(group, f"{split}_{quantity}", "t")) is not None
        }
        for quantity in _QUANTITIES
        for split in _SPLITS
    }
    quantities = [q for q in _QUANTITIES if any(cells[q, s] for s in _SPLITS)]
    splits = [s for s in _SPLITS if any(cells[q, s] for q in _QUANTITIES)]
    if not quantities:
        return None
    figure = style.new_figure(0.9 + 2.0 * len(quantities))
    grid = figure.subplots(len(quantities), len(splits), sharex=True, squeeze=False)
    t = style.coordinate(next(group for group in paths.values() if group), "t")
    for axes, (quantity, split) in zip(grid.flat, itertools.product(quantities, splits)):
        found = cells[quantity, split]
        for index, (path, group) in enumerate(paths.items()):
            if path in found:
                style.draw_series(axes, style.coordinate(group, "t").values, found[path], path, style.look(index))
        if not found:
            axes.set_axis_off()
            continue
        # One scale a row: train and test are read side by side.
        style.set_scale(axes.yaxis, [v for each in splits for v in cells[quantity, each].values()])
        if axes.get_yscale() == "linear":
            axes.set_ylim(bottom=0)
        axes.set_ylabel(style.label(next(iter(found.values())), f"{split} {quantity}"))
        if quantity == quantities[-1]:
            axes.set_xlabel(style.label(t))
    if segments:
        for axes in grid.flat:
            _part(axes, segments, named=axes in grid[0])
    style.legend(figure, list(grid.flat))
    return figure


def _part(axes: Axes, segments: Group, named: bool) -> None:
    """Lines where a segment ends and the next begins, and above the panel their names."""
    begins, ends = segments["begin"].values, segments["end"].values
    for border in begins[1:]:
        axes.axvline(border, color=style.GREY, lw=0.8, zorder=0)
    if named:
        for name, begin, end in zip(segments["segment"].values, begins, ends):
            place = ((begin + end) / 2, 1.02)
            axes.annotate(
                str(name).replace(" ", "\n"), place, xycoords=("data", "axes fraction"), ha="center", va="bottom"
            )
