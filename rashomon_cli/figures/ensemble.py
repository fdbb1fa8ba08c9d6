"""Ensembles along a path beside their members and independent models, and the differences with their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Variable
from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group, Look

_MEASURES = ("error", "loss")
_MOST = 11
_MEMBER, _ENSEMBLE, _DIFFERENCE = (style.look(index) for index in range(3))
_OVER = Look(_MEMBER.colour, "D", filled=False)


@style.styled
def ensemble(group: Group) -> Figure | None:
    """A row for each member, for their mean and best, and for each ensemble; below them the differences.

    Args:
        group: variables of the quantity ``ensemble``; the error of a classifier stands beside the loss.

    Returns:
        The figure; None where the group has none.
    """
    measures = [m for m in _MEASURES if f"ensemble_{m}" in group]
    if not measures:
        return None
    words = _words(group)
    singles = ["member_{}_mean", "member_{}_best"]
    ensembles = [f"{name}_{{}}" for name in ("ensemble", "equal", "independent") if f"{name}_{measures[0]}" in group]
    pairs = [key for key in words if "_minus_" in key and key.format(measures[0]) in group]
    ts = style.coordinate(group, "member").values
    shown = len(ts) if len(ts) <= _MOST else 0
    rows = [*(f"t = {t:.3g}" for t in ts[:shown]), *(words[key] for key in [*singles, *ensembles])]
    figure = style.new_figure(1.6 + 0.21 * (len(rows) + len(pairs)))
    grid = figure.subplots(2, len(measures), sharey="row", squeeze=False, height_ratios=[len(rows) + 1, len(pairs) + 1])
    for (top, bottom), measure in zip(grid.T, measures):
        for row in range(shown):
            _dot(top, group[f"member_{measure}"], row, row, _MEMBER, "model of the path")
        for place, key in enumerate([*singles, *ensembles]):
            how, about = (_OVER, "over these models") if key in singles else (_ENSEMBLE, "ensemble")
            _dot(top, group[key.format(measure)], 0, shown + place, how, about)
        top.set_xlabel(style.label(group[f"ensemble_{measure}"], measure))
        bottom.axvline(0, color=style.GREY, lw=0.8, zorder=0.9)
        for row, key in enumerate(pairs):
            _interval(bottom, group, key.format(measure), row)
        unit = style.label(group[f"ensemble_{measure}"], f"difference in {measure}")
        bottom.set_xlabel(unit.replace("[%]", "[percentage points]"))
    for axes, names in zip(grid[:, 0], (rows, [words[key] for key in pairs])):
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
    style.legend(figure, list(grid.flat), columns=3)
    return figure


def _words(group: Group) -> dict[str, str]:
    """What each row is called; a difference less than 0 is for what is named first."""
    k = len(style.coordinate(group, "member").values)
    few = group.get("equal_member")
    count = "" if few is None else f"{len(few.values)} "
    return {
        "member_{}_mean": "mean of these",
        "member_{}_best": "best of these",
        "ensemble_{}": f"{k} of the path",
        "equal_{}": f"{count}of the path",
        "independent_{}": f"{count}independent",
        "ensemble_minus_member_mean_{}": f"{k} of the path − mean",
        "ensemble_minus_member_best_{}": f"{k} of the path − best",
        "ensemble_minus_independent_{}": f"{k} of the path − {count}independent",
        "equal_minus_independent_{}": f"{count}of the path − {count}independent",
    }


def _dot(axes: Axes, variable: Variable, index: int, row: int, how: Look, label: str) -> None:
    """One value of a variable with ±1 standard error."""
    value = float(variable.values.flat[index])
    spread = 0.0 if variable.stderr is None else float(np.nan_to_num(variable.stderr.flat[index]))
    face = how.colour if how.filled else "white"
    kept: dict[str, Any] = {"fmt": how.marker, "color": how.colour, "mfc": face, "ms": 4.5, "capsize": 2.5}
    axes.errorbar(value, row, xerr=spread, elinewidth=0.9, label=label, **kept)


def _interval(axes: Axes, group: Group, key: str, row: int) -> None:
    """A difference with its 95 % interval: a thick line, since bars are standard errors in every figure."""
    how = _DIFFERENCE
    ends = [float(group[f"{key}_{side}"].values) for side in ("low", "high")]
    axes.plot(ends, [row, row], color=how.colour, lw=1.8)
    value = float(group[key].values)
    axes.plot(value, row, how.marker, color=how.colour, ms=5, ls="none", label="difference, line: 95 % interval")
