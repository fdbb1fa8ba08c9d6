"""How wide a ridge is along a path, in random and in Hessian-free directions; what was cut off is marked."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rashomon_cli.core.results import Array, Variable
from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group

_KINDS = {"random": "random directions", "hessian_free": "Hessian-free directions"}


@style.styled
def width(group: Group) -> Figure | None:
    """Distance until the loss rises by ε against t, with the curvature in the same directions beside it.

    Args:
        group: variables of the quantity ``width`` along ``t``.

    Returns:
        The figure; None where the group has none along ``t``.
    """
    found = {w: v for kind, w in _KINDS.items() if (v := style.along(group, f"width_{kind}", "t")) is not None}
    if not found:
        return None
    curved = {w: v for k, w in _KINDS.items() if (v := style.along(group, f"width_{k}_curvature", "t")) is not None}
    figure = style.new_figure(3.3)
    grid = figure.subplots(1, 2 if curved else 1, squeeze=False)[0]
    t = style.coordinate(group, "t")
    for index, (kind, words) in enumerate(_KINDS.items()):
        if words not in found:
            continue
        how, variable = style.look(index), found[words]
        style.draw_series(grid[0], t.values, variable, words, how)
        cut = _censored(group, kind, len(t.values))
        grid[0].plot(t.values[cut], variable.values[cut], "^", color=how.colour, mfc="none", ms=10, ls="none")
        if words in curved:
            style.draw_series(grid[1], t.values, curved[words], words, how)
    drawn = list(found.values())
    if any(_censored(group, kind, len(t.values)).any() for kind in _KINDS):
        limit = group["width_max"]
        grid[0].axhline(float(np.max(limit.values)), color=style.GREY, ls=style.DASHES[1], lw=0.9, label="cut-off")
        mark = Line2D([], [], color=style.GREY, marker="^", mfc="none", ms=8, ls="none")
        grid[0].add_line(mark)
        mark.set_label("cut off in part: at least so wide")
        drawn.append(limit)
    style.set_scale(grid[0].yaxis, drawn)
    if grid[0].get_yscale() == "linear":
        grid[0].set_ylim(bottom=0)
    grid[0].set_ylabel(f"distance until the loss rises by {_amount(group['width_epsilon'])}")
    if curved:
        style.set_scale(grid[1].yaxis, list(curved.values()))
        grid[1].set_ylabel(style.label(next(iter(curved.values())), "vᵀHv"))
    for axes in grid:
        axes.set_xlabel(style.label(t))
    style.legend(figure, list(grid), columns=3)
    return figure


def _amount(epsilon: Variable) -> str:
    """ε with its unit; it is the same at every position."""
    return f"{np.max(epsilon.values):g}" + (f" {epsilon.units}" if epsilon.units != "1" else "")


def _censored(group: Group, kind: str, count: int) -> Array:
    """At which positions some of the widths were cut off (T,)."""
    share = group.get(f"width_{kind}_censored")
    return np.zeros(count, dtype=bool) if share is None else np.nan_to_num(share.values) > 0
