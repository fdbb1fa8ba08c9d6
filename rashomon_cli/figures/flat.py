"""The ledger of flat directions: what makes them flat, and how much each kind changes predictions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array, Variable
from rashomon_cli.figures import layers, shares, style
from rashomon_cli.figures.parts import named, number, parts
from rashomon_cli.figures.style import Group, Look

_RANDOM = {"random": "random direction"}
_LOOKS = shares.LOOKS | {"random": Look(style.GREY, "P", style.DASHES[2])}
_SETS = {"": "on these examples", "_other": "on other data"}
_CHANGE = "‖Δp‖₂ per unit step"
_TICKS = 6


@style.styled
def flat(group: Group) -> Figure | None:
    """Shares of the flat directions by kind, and beside them the change of predictions per unit step along each.

    The shares are a bar at a model, and a bar at each position of a path. What the Lanczos steps leave open, between
    the ends that they prove, has a shade of its own. Random directions are the yardstick of the changes. By layer there
    is a bar each; of a path the shares alone, at both ends and in the middle.

    Args:
        group: variables of the quantity ``flat``, of a point or along ``t``, or of either by ``layer``.

    Returns:
        The figure; None where the group has none.
    """
    told = group.get("flat_share_visible")
    if told is None or not np.isfinite(told.values).any():
        return None
    sets = {suffix: words for suffix, words in _SETS.items() if f"flat_change{suffix}_random" in group}
    if layers.layered(group, "flat_share_visible"):
        return _layers(group, sets)
    whole = told.values.ndim == 0
    figure = style.new_figure(3.6)
    grid = figure.subplots(1, 2 if whole else 1 + len(sets), width_ratios=[1, 3] if whole else None)
    _bars(grid[0], group)
    if whole:
        _rows(grid[1], group, sets)
    else:
        _along(grid[1:], group, sets)
    figure.suptitle(_words(group), fontsize=8)
    style.legend(figure, list(grid), "outside lower center", columns=4)
    return figure


def _bars(axes: Axes, group: Group) -> None:
    """A bar of shares, at each position of a path."""
    points = parts(group, "t", "flat_share_visible")
    whole = points[0][0] is None
    places = np.zeros(1) if whole else style.coordinate(group, "t").values
    width = 0.75 * (float(np.min(np.diff(places))) if len(places) > 1 else 1.0)
    shares.stacked(axes, [point for _, point in points], places, width)
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, symbol=None))
    axes.set_ylabel(shares.LABEL)
    if whole:
        axes.set_xticks([])
    else:
        _positions(axes, group)


def _rows(axes: Axes, group: Group, sets: dict[str, str]) -> None:
    """At a model a row a kind with its share, and one for random directions; hollow on other data."""
    each = {kind: number(group, f"flat_share_{kind}") for kind in shares.KINDS}
    told = {kind: f"{round(100 * part, 4):.3g} %" if np.isfinite(part) else "not told" for kind, part in each.items()}
    labels = [f"{words}\n{told[kind]}" for kind, words in shares.KINDS.items()]
    labels += _RANDOM.values()
    for row, (kind, how) in enumerate(_LOOKS.items()):
        for suffix in sets:
            variable = group[f"flat_change{suffix}_{kind}"]
            if np.isfinite(variable.values):
                kept: dict[str, Any] = {"fmt": how.marker, "color": how.colour, "ms": 5.5, "capsize": 2}
                kept |= {"mfc": "white" if suffix else how.colour, "elinewidth": 0.9}
                axes.errorbar(float(variable.values), row, xerr=_error(variable)[:, None], **kept)
    for suffix, words in sets.items():
        face = "white" if suffix else style.GREY
        axes.plot([], [], "o", color=style.GREY, mfc=face, ms=5.5, ls="none", label=words)
    # As the bar beside, from symmetries at the bottom up.
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel(f"change of predictions, {_CHANGE}")
    _scale([axes.xaxis], group, sets)


def _along(panels: Sequence[Axes], group: Group, sets: dict[str, str]) -> None:
    """Over t a line a kind, a panel for each set of examples, on one scale."""
    t = style.coordinate(group, "t")
    for axes, (suffix, words) in zip(panels, sets.items()):
        for kind, label in (shares.KINDS | _RANDOM).items():
            how, variable = _LOOKS[kind], group[f"flat_change{suffix}_{kind}"]
            there = np.isfinite(variable.values)
            kept: dict[str, Any] = {"color": how.colour, "ls": how.dash, "marker": how.marker, "ms": 4.5, "capsize": 2}
            error = _error(variable)[:, there]
            axes.errorbar(t.values[there], variable.values[there], error, elinewidth=0.9, label=label, **kept)
        axes.set_title(f"change of predictions\n{words}")
        _positions(axes, group)
    _scale([axes.yaxis for axes in panels], group, sets)
    panels[0].set_ylabel(_CHANGE)


def _layers(group: Group, sets: dict[str, str]) -> Figure:
    """A row a layer: of a model its shares, and the changes beside them; of a path its shares, a panel a position."""
    points = parts(group, "t", "flat_share_visible", layers.PANELS)
    if points[0][0] is not None:
        sets = {}
    figure, panels = layers.frame(group, len(points) + len(sets), 1.9)
    size = layers.size(group)
    for axes, (t, point) in zip(panels, points):
        each = [one for _, one in parts(point, "layer", "flat_share_visible")]
        shares.stacked(axes, each, np.arange(len(each)), 0.75, lying=True, size=size)
        layers.missing(axes, point["flat_share_visible"].values, "no flat direction")
        layers.percent(axes)
        axes.set_title(named(t))
    panels[len(points) // 2].set_xlabel(shares.LABEL)
    for axes, (suffix, words) in zip(panels[len(points) :], sets.items()):
        for (kind, how), lane in zip(_LOOKS.items(), layers.lanes(len(_LOOKS))):
            variable = group[f"flat_change{suffix}_{kind}"]
            down, up = _error(variable)
            low, high = variable.values - down, variable.values + up
            layers.marks(axes, variable.values, how, low=low, high=high, lane=lane, size=size)
        axes.set_title(f"change of predictions\n{words}")
        axes.set_xlabel(_CHANGE)
    if sets:
        _scale([axes.xaxis for axes in panels[1:]], group, sets)
    for kind, label in (shares.KINDS | (_RANDOM if sets else {})).items():
        panels[0].plot([], [], _LOOKS[kind].marker, color=_LOOKS[kind].colour, ms=5, ls="none", label=label)
    figure.suptitle(_words(group), fontsize=8)
    style.legend(figure, panels, "outside lower center", columns=3)
    return figure


def _positions(axes: Axes, group: Group) -> None:
    t = style.coordinate(group, "t")
    if len(t.values) <= _TICKS:
        axes.set_xticks(t.values, [style.plain(float(f"{value:.3g}")) for value in t.values])
    axes.set_xlabel(style.label(t))


def _error(variable: Variable) -> Array:
    """Lengths of error bars (2, …): a change is positive, and its axis may be logarithmic."""
    error = np.zeros(variable.values.shape) if variable.stderr is None else np.nan_to_num(variable.stderr)
    return np.stack([np.minimum(error, 0.9 * np.nan_to_num(variable.values)), error])


def _scale(axes: Sequence[Any], group: Group, sets: dict[str, str]) -> None:
    """One scale for all axes, logarithmic; linear below the decade of the least change where some are 0."""
    values = np.concatenate([group[f"flat_change{suffix}_{kind}"].values.ravel() for suffix in sets for kind in _LOOKS])
    for axis in axes:
        style.set_scale_from_zero(axis, values)
    limits = [axis.get_view_interval() for axis in axes]
    for axis in axes:
        axis.set_view_interval(min(low for low, _ in limits), max(high for _, high in limits), ignore=True)
    for axis in axes[1:] if axes[0].axis_name == "y" else ():
        axis.set_tick_params(labelleft=False)


def _words(group: Group) -> str:
    """What the directions are, and what to beware of."""
    tau, within, known = (group[f"flat_{name}"] for name in ("tau", "within", "units_known"))
    counts = np.isfinite(group["flat_share_visible_each"].values).sum(-1)
    count = f"{'up to ' if np.ptp(counts[counts > 0]) else ''}{counts.max()}"
    least = float(np.nanmin(within.values))
    share = "all" if least == 1 else f"{'at least ' if within.dims else ''}{100 * least:.0f} % of them"
    bound = f"{style.plain(float(f'{np.nanmax(tau.values):.3g}'))} {tau.units}"
    words = f"means of {count} directions, {share} with ‖Hv‖ ≤ τ = {bound}"
    if (known.values == 0).any():
        words += "; units could not be told: dead ones count as invisible"
    if not np.isfinite(group["flat_share_symmetry"].values[np.isfinite(group["flat_share_visible"].values)]).all():
        words += "; symmetries could not be told: they count among the others"
    return "\n".join(textwrap.wrap(words, 105))
