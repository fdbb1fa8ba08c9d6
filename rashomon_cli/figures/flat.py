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
from rashomon_cli.figures import style
from rashomon_cli.figures.parts import number, parts
from rashomon_cli.figures.style import Group, Look

_KINDS = {
    "symmetry": "symmetry",
    "dead": "dead or constant unit",
    "invisible": "invisible on these examples",
    "visible": "changes outputs, not the loss",
}
_RANDOM = {"random": "random direction"}
_LOOKS = {kind: style.look(place) for place, kind in enumerate(_KINDS)}
_LOOKS["random"] = Look(style.GREY, "P", style.DASHES[2])
_OPEN = "#BBBBBB"
_SETS = {"": "on these examples", "_other": "on other data"}
_CHANGE = "‖Δp‖₂ per unit step"
_ROOM = 0.05  # of the bar, that a mark in it needs
_TICKS = 6


@style.styled
def flat(group: Group) -> Figure | None:
    """Shares of the flat directions by kind, and beside them the change of predictions per unit step along each.

    The shares are a bar at a model, and a bar at each position of a path. What the Lanczos steps leave open, between
    the ends that they prove, has a shade of its own. Random directions are the yardstick of the changes.

    Args:
        group: variables of the quantity ``flat``, of a point or along ``t``.

    Returns:
        The figure; None where the group has none.
    """
    shares = group.get("flat_share_visible")
    if shares is None or not np.isfinite(shares.values).any():
        return None
    sets = {suffix: words for suffix, words in _SETS.items() if f"flat_change{suffix}_random" in group}
    whole = shares.values.ndim == 0
    figure = style.new_figure(3.6)
    grid = figure.subplots(1, 2 if whole else 1 + len(sets), width_ratios=[1, 3] if whole else None)
    _shares(grid[0], group)
    if whole:
        _rows(grid[1], group, sets)
    else:
        _along(grid[1:], group, sets)
    figure.suptitle(_words(group), fontsize=8)
    style.legend(figure, list(grid), "outside lower center", columns=4)
    return figure


def _shares(axes: Axes, group: Group) -> None:
    """A bar at each position, from symmetries at the bottom up; bars of error are of the sums so far."""
    points = parts(group, "t", "flat_share_visible")
    whole = points[0][0] is None
    places = np.zeros(1) if whole else style.coordinate(group, "t").values
    width = 0.75 * (float(np.min(np.diff(places))) if len(places) > 1 else 1.0)
    sums, errors, ends = (np.stack(each) for each in zip(*(_sums(point) for _, point in points)))
    low, high = ends.T
    tops = {"symmetry": sums[:, 0], "dead": sums[:, 1], "invisible": low, "visible": np.ones(len(low))}
    bottom = np.zeros(len(low))
    for kind, top in tops.items():
        how = _LOOKS[kind]
        if kind == "visible":
            label = "invisible or not: left open" if (high > low).any() else ""
            axes.bar(places, high - low, width, low, color=_OPEN, label=label)
            bottom = high
        axes.bar(places, top - bottom, width, bottom, color=how.colour, edgecolor="white", lw=0.5)
        fits = top - bottom >= _ROOM
        axes.plot(places[fits], (top + bottom)[fits] / 2, how.marker, color="white", ms=5)
        bottom = top
    for boundary, error in zip(sums.T, errors.T):
        axes.errorbar(places, boundary, np.nan_to_num(error), fmt="none", ecolor="black", elinewidth=0.9, capsize=2)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, symbol=None))
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("share of the flat directions [%]")
    if whole:
        axes.set_xticks([])
    else:
        _positions(axes, group)


def _sums(point: Group) -> tuple[Array, Array, Array]:
    """Sums of the first one, two and three shares, their standard errors, and the ends proved of the third.

    Shares of one direction sum to 1, so errors of sums are taken over directions.
    """
    each = np.stack([np.atleast_1d(point[f"flat_share_{kind}_each"].values) for kind in _KINDS])
    each[0] = np.nan_to_num(each[0])  # symmetries that could not be told are in the others
    each = each[:, np.isfinite(each).all(0)]
    count = each.shape[1]
    if not count:
        return np.full(3, np.nan), np.full(3, np.nan), np.full(2, np.nan)
    sums = np.cumsum(each, axis=0)[:3]
    error = sums.std(1, ddof=1) / count**0.5 if count > 1 else np.zeros(3)
    proved = np.array([number(point, f"flat_share_invisible_{end}") for end in ("low", "high")])
    ends = np.clip(sums[1].mean() + proved, 0.0, 1.0)
    return sums.mean(1), error, ends


def _rows(axes: Axes, group: Group, sets: dict[str, str]) -> None:
    """At a model a row a kind with its share, and one for random directions; hollow on other data."""
    shares = {kind: number(group, f"flat_share_{kind}") for kind in _KINDS}
    told = {
        kind: f"{round(100 * share, 4):.3g} %" if np.isfinite(share) else "not told" for kind, share in shares.items()
    }
    labels = [f"{words}\n{told[kind]}" for kind, words in _KINDS.items()]
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
        for kind, label in (_KINDS | _RANDOM).items():
            how, variable = _LOOKS[kind], group[f"flat_change{suffix}_{kind}"]
            there = np.isfinite(variable.values)
            kept: dict[str, Any] = {"color": how.colour, "ls": how.dash, "marker": how.marker, "ms": 4.5, "capsize": 2}
            error = _error(variable)[:, there]
            axes.errorbar(t.values[there], variable.values[there], error, elinewidth=0.9, label=label, **kept)
        axes.set_title(f"change of predictions\n{words}")
        _positions(axes, group)
    _scale([axes.yaxis for axes in panels], group, sets)
    panels[0].set_ylabel(_CHANGE)


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
    drawn = [group[f"flat_change{suffix}_{kind}"].values.ravel() for suffix in sets for kind in _LOOKS]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    edge = 10.0 ** np.floor(np.log10(values[values > 0].min(initial=1.0)))
    for axis in axes:
        which = axis.axis_name
        if (values > 0).all():
            style.set_scale(axis, [Variable(("k",), values)])
        else:
            (axis.axes.set_xscale if which == "x" else axis.axes.set_yscale)("symlog", linthresh=edge)
            axis.set_major_formatter(ticker.FuncFormatter(style.plain))
    limits = [axis.get_view_interval() for axis in axes]
    for axis in axes:
        axis.set_view_interval(min(low for low, _ in limits), max(high for _, high in limits), ignore=True)
    for axis in axes[1:]:
        axis.set_tick_params(labelleft=False)


def _words(group: Group) -> str:
    """What the directions are, and what to beware of."""
    tau, within, known = (group[f"flat_{name}"] for name in ("tau", "within", "units_known"))
    count = group["flat_share_symmetry_each"].values.shape[-1]
    least = float(np.nanmin(within.values))
    share = "all" if least == 1 else f"{'at least ' if within.dims else ''}{100 * least:.0f} % of them"
    bound = f"{style.plain(float(f'{np.nanmax(tau.values):.3g}'))} {tau.units}"
    words = f"means of {count} directions, {share} with ‖Hv‖ ≤ τ = {bound}"
    if (known.values == 0).any():
        words += "; units could not be told: dead ones count as invisible"
    if not np.isfinite(group["flat_share_symmetry"].values[np.isfinite(group["flat_share_visible"].values)]).all():
        words += "; symmetries could not be told: they count among the others"
    return "\n".join(textwrap.wrap(words, 105))
