"""The local learning coefficient: how its chains settle, and what they say together; by layer the latter alone."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array, Variable
from rashomon_cli.figures import layers, style
from rashomon_cli.figures.parts import MOST, named, number, parts
from rashomon_cli.figures.style import Group, Look

_LOOK = Look("#000000")


@style.styled
def llc(group: Group) -> Figure | None:
    """The running estimate of each chain beside λ̂ with its interval; along a path, of all chains, and λ̂ over t.

    Estimates that should not be trusted are said, at a point with the reasons. By layer there is λ̂ alone, a row each.

    Args:
        group: ``llc_excess`` along ``chain`` and ``step``, ``llc_burn_in``, ``llc_inverse_temperature``,
            ``llc_heat`` where there is one, and ``llc`` with its ends, of a point or along ``t``, or of either by
            ``layer``.

    Returns:
        The figure; None where the group has no such chains.
    """
    if layers.layered(group, "llc"):
        return _layers(group)
    if "llc_excess" not in group or "llc" not in group:
        return None
    points = parts(group, "t", "llc_excess", MOST)
    whole = points[0][0] is None
    figure = style.new_figure(3.3)
    axes, beside = figure.subplots(1, 2)
    if whole:
        _losses(axes, group)
        _chains(beside, group)
    else:
        for place, (t, point) in enumerate(points):
            how, (draws, running) = style.look(place), _running(point)
            axes.plot(draws, running.mean(0), color=how.colour, ls=how.dash, label=named(t))
        axes.set_xlabel("draws of each chain")
        axes.set_ylabel("λ̂ from the draws so far")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        _along(beside, group)
    words = str(group["llc_concerns"].values) if whole and "llc_concerns" in group else ""
    if words:
        figure.suptitle("\n".join(textwrap.wrap(f"to be taken with reserve: {words}", 105)), fontsize=8)
    style.legend(figure, [axes, beside], "outside lower center", bars="" if whole else "±1 standard error")
    return figure


def _running(point: Group) -> tuple[Array, Array]:
    """Numbers of draws (m,), and λ̂ of each chain from so many (chains, m), less what minibatches add to it."""
    burn_in = int(number(point, "llc_burn_in"))
    each = number(point, "llc_inverse_temperature") * point["llc_excess"].values[:, burn_in:]
    draws = np.arange(1, each.shape[1] + 1)
    heat = number(point, "llc_heat") if "llc_heat" in point else 0.0
    return draws, np.cumsum(each, axis=1) / draws - heat


def _losses(axes: Axes, group: Group) -> None:
    """The loss of each chain above the point's, step by step, burn-in included."""
    excess = group["llc_excess"]
    for chain, values in enumerate(excess.values):
        how = style.look(chain)
        axes.plot(np.arange(1, len(values) + 1), values, color=how.colour, ls=how.dash, lw=0.7)
    burn_in = number(group, "llc_burn_in")
    axes.axvspan(0, burn_in, color=style.GREY, alpha=0.15, lw=0, zorder=0.5)
    axes.fill_between([], [], color=style.GREY, alpha=0.15, lw=0, label="before the draws that count")
    axes.axhline(0, color=style.GREY, lw=0.8, zorder=0.9)
    axes.set_xlim(0, excess.values.shape[-1])
    axes.set_xlabel("step")
    axes.set_ylabel(style.label(excess, "loss above that of the point"))


def _chains(axes: Axes, group: Group) -> None:
    """Running estimates, and what the chains say together."""
    draws, running = _running(group)
    for chain, values in enumerate(running):
        how = style.look(chain)
        axes.plot(draws, values, color=how.colour, ls=how.dash, label=f"chain {chain + 1}" if len(running) < 8 else "")
    value, low, high = (number(group, f"llc{end}") for end in ("", "_low", "_high"))
    axes.axhline(value, color="black", lw=1.0, label=f"λ̂ = {value:.3g} ({low:.3g} to {high:.3g} at 95 %)")
    axes.axhspan(low, high, color="black", alpha=0.12, lw=0, zorder=0.5)
    axes.set_xlabel("draws of each chain")
    axes.set_ylabel("λ̂ from the draws so far")


def _along(axes: Axes, group: Group) -> None:
    """λ̂ over t; hollow where there are concerns."""
    found = style.along(group, "llc", "t")
    if found is None:
        return
    t = style.coordinate(group, "t")
    style.draw_series(axes, t.values, found, "λ̂", _LOOK)
    doubtful = _concerns(group, found.values.shape) != ""
    if doubtful.any():
        kept: dict[str, Any] = {"color": _LOOK.colour, "mfc": "white", "ms": 6, "ls": "none", "zorder": 3}
        axes.plot(t.values[doubtful], found.values[doubtful], "o", label="with reserve, see llc_concerns", **kept)
    axes.set_xlabel(style.label(t))
    axes.set_ylabel(style.label(found, "λ̂"))


def _layers(group: Group) -> Figure | None:
    """A row a layer: λ̂ of a walk in its parameters alone, with its interval; on a path a mark a position."""
    found = group["llc"]
    if not np.isfinite(found.values).any():
        return None
    figure, (axes,) = layers.frame(group, 1, 1.4)
    points = parts(group, "t", "llc", MOST)
    for place, ((t, point), lane) in enumerate(zip(points, layers.lanes(len(points)), strict=True)):
        value, low, high = (point[f"llc{end}"].values for end in ("", "_low", "_high"))
        doubtful = _concerns(point, value.shape) != ""
        how = _LOOK if t is None else style.look(place)
        kept: dict[str, Any] = {"low": low, "high": high, "hollow": doubtful, "size": layers.size(point)}
        layers.marks(axes, value, how, named(t) or "λ̂", lane=lane, **kept)
    layers.missing(axes, found.values, "no estimate")
    half = np.nan_to_num(found.values - group["llc_low"].values)
    style.set_scale(axes.xaxis, [Variable(found.dims, found.values, stderr=half)])
    if axes.get_xlim()[0] < 0:
        axes.axvline(0, color=style.GREY, lw=0.8, zorder=0.9)
    axes.set_xlabel(style.label(found, "local learning coefficient λ̂"))
    concerns = _concerns(group, found.values.shape).ravel()
    if (concerns != "").any():
        layers.hollow_means(axes, "to be taken with reserve")
        figure.suptitle("\n".join(textwrap.wrap(_tally(concerns), 105)), fontsize=8)
    style.legend(figure, [axes], "outside lower center", columns=4, bars="bars: interval at 95 %")
    return figure


def _concerns(group: Group, shape: tuple[int, ...]) -> Array:
    """Why not to trust each estimate; empty for no reason."""
    found = np.full(shape, "") if "llc_concerns" not in group else group["llc_concerns"].values.astype(str)
    return np.where(found == "nan", "", found)


def _tally(concerns: Array) -> str:
    """How many estimates are to be taken with reserve, and how often for which reason."""
    reasons = Counter(reason for words in concerns if words for reason in words.split("; "))
    told = "; ".join(f"{reason}: {times}" for reason, times in reasons.most_common())
    return f"to be taken with reserve: {(concerns != '').sum()} of {len(concerns)} estimates ({told})"
