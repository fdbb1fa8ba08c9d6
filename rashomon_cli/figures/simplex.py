"""How the loss is distributed over a simplicial complex."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group

_NAME_LENGTH = 22


@style.styled
def simplex(group: Group) -> Figure | None:
    """Losses at random points in order, over the part of the volume that lies below each: its distribution function.

    Args:
        group: along ``point`` the ``train_loss`` and the number of the ``simplex``; along ``anchor`` each simplex's
            ``share`` of the volume and its name; ``higher_anchor`` and ``epsilon``.

    Returns:
        The figure; None where the group has no such losses.
    """
    losses = style.along(group, "train_loss", "point")
    if losses is None or "share" not in group:
        return None
    values, numbers = losses.values, group["simplex"].values.astype(int) - 1
    shares = group["share"].values
    order = np.argsort(values, kind="stable")
    each = (shares / np.bincount(numbers, minlength=len(shares)))[numbers]
    middle = np.empty(len(values))
    middle[order] = np.cumsum(each[order]) - each[order] / 2
    figure = style.new_figure(3.4)
    axes = figure.subplots()
    for number, name in enumerate(group["anchor"].values):
        inside = numbers == number
        how = style.look(number)
        error = None if losses.stderr is None else np.nan_to_num(losses.stderr[inside])
        axes.errorbar(
            middle[inside],
            values[inside],
            error,
            fmt=how.marker,
            color=how.colour,
            elinewidth=0.9,
            capsize=2,
            label=f"simplex of {style.shorten(str(name), _NAME_LENGTH)}",
        )
    style.set_scale(axes.yaxis, [losses])
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    higher, epsilon = (float(group[name].values) for name in ("higher_anchor", "epsilon"))
    axes.axhline(higher + epsilon, color=style.GREY, ls="--", label=f"higher anchor + ε = {epsilon:g}")
    axes.axhline(higher, color=style.GREY, ls=":", label="higher anchor")
    axes.set_xlim(0, 1)
    axes.set_xlabel("part of the volume with a lower loss")
    axes.set_ylabel(style.label(losses))
    style.legend(figure, [axes], columns=3)
    return figure
