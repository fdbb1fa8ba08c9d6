"""Spectral density: smoothed here and nowhere else, with the raw nodes below and the count of small eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array
from rashomon_cli.figures import style
from rashomon_cli.figures.parts import MOST, named, number, parts, spaced
from rashomon_cli.figures.style import Group

_WIDTH = 0.08  # standard deviation of the smoothing, in decades
_NARROW, _BROAD = 1e-4, 1e-1  # bounds of the part around 0 that is linear, relative to the largest |λ|
_FLOOR = 0.1  # eigenvalues per decade below which nothing is drawn
_PANELS = 12
_OTHER = "dimension_"


@dataclass(frozen=True)
class _Seen:
    """A density: nodes (probes, steps), their weights in eigenvalues, and eigenvalues that are known."""

    nodes: Array
    weights: Array
    known: Array

    @property
    def ends(self) -> tuple[float, float]:
        every = np.concatenate([self.nodes[np.isfinite(self.nodes)], self.known])
        return float(every.min()), float(every.max())


@style.styled
def density(group: Group) -> Figure | None:
    """Eigenvalues per decade over the eigenvalue, linear around 0 and logarithmic beyond; raw nodes as ticks below.

    Each weight is spread as a Gaussian of 0.08 decades along the drawn axis, so that areas are numbers of eigenvalues.
    The band is the standard error over probes. By layer there is a panel each.

    Args:
        group: ``density_nodes``, ``density_weights``, ``density_dimension`` and ``density_known``, of a point, along
            ``t`` or along ``layer``; those of ``dimension_density_…`` where there are no others; ``tau`` and
            ``dimension`` with its ends where they were counted.

    Returns:
        The figure; None where the group has no such nodes.
    """
    if "density_nodes" not in group:
        group = {name.removeprefix(_OTHER): v for name, v in group.items() if name.startswith(_OTHER)} | dict(group)
    panels = _panels(group)
    if not panels:
        return None
    curves = max(len(found) for found in panels.values())
    columns = 1 if len(panels) == 1 else 2
    layered, rows = None not in panels, -(-len(panels) // columns)
    figure = style.new_figure(0.7 + rows * ((2.9 if columns == 1 else 1.7) + 0.13 * curves))
    outer = figure.add_gridspec(rows, columns)
    ends = [seen.ends for found in panels.values() for _, seen, _ in found]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    tau = max((number(one, "tau") for found in panels.values() for *_, one in found), default=np.nan)
    linear = _linear(max(-low, high), tau)
    drawn: list[Axes] = []
    for place, (layer, found) in enumerate(panels.items()):
        inner = outer[place // columns, place % columns].subgridspec(2, 1, height_ratios=[6, 0.5 * curves], hspace=0)
        top, below = (figure.add_subplot(inner[row, 0]) for row in (0, 1))
        _draw(top, below, found, (low, high), linear, counted=not layered)
        for axes in (top, below):
            _scale(axes, axes.get_xlim(), linear, apart=0.065 * columns)
        if np.isfinite(tau):
            count = "" if layered or found[0][0] else _count(found[0][2])
            label = f"|λ| ≤ τ = {style.plain(float(f'{tau:.3g}'))}{count}"
            for axes in (top, below):
                axes.axvspan(-tau, tau, color=style.GREY, alpha=0.18, lw=0, zorder=0.5)
            top.fill_between([], [], color=style.GREY, alpha=0.18, lw=0, label=label)
        if layered:
            top.set_title(style.shorten(str(layer), 40))
        drawn += [top, below]
    highest = max(top.get_ylim()[1] for top in drawn[::2])
    for top in drawn[::2]:
        top.set_ylim(top=highest)
    figure.supylabel("eigenvalues per decade", fontsize=9)
    figure.supxlabel(style.label(group["density_nodes"], "eigenvalue λ"), fontsize=9)
    style.legend(figure, drawn, columns=3 if curves == 1 and layered else 2, bars="")
    return figure


def _panels(group: Group) -> dict[Any, list[tuple[str, _Seen, Group]]]:
    """For each layer, or None for the whole: name, density and group of each position."""
    found: dict[Any, list[tuple[str, _Seen, Group]]] = {}
    for t, point in parts(group, "t", "density_nodes", MOST):
        layers = parts(point, "layer", "density_nodes")
        for place in spaced(len(layers), _PANELS):
            layer, one = layers[place]
            seen = _seen(one)
            if seen is not None:
                found.setdefault(layer, []).append((named(t), seen, one))
    return found


def _seen(group: Group) -> _Seen | None:
    """The density of a point; None where it has none."""
    names = ("density_nodes", "density_weights", "density_dimension", "density_known")
    if any(name not in group for name in names):
        return None
    nodes, weights, dimension, known = (group[name].values for name in names)
    there = np.isfinite(np.diagonal(known))
    if not np.isfinite(nodes).any():
        return None
    return _Seen(nodes, weights * float(dimension), np.linalg.eigvalsh(known[there][:, there]))


def _linear(scale: float, tau: float) -> float:
    """Where the axis turns from linear to logarithmic: at τ where one is given and lies in between."""
    return float(np.clip(tau if np.isfinite(tau) else 1e-3 * scale, _NARROW * scale, _BROAD * scale)) or 1.0


def _smooth(seen: _Seen, grid: Array, linear: float) -> tuple[Array, Array]:
    """Eigenvalues per decade at positions of the axis (m,), and its standard error over probes."""

    def spread(values: Array, weights: Array) -> Array:
        there = np.isfinite(values)
        away = grid[:, None] - np.arcsinh(values[there] / linear) / np.log(10)
        found: Array = np.exp(-0.5 * (away / _WIDTH) ** 2) @ weights[there] / (_WIDTH * np.sqrt(2 * np.pi))
        return found

    each = np.stack([spread(*rule) for rule in zip(seen.nodes, seen.weights)])
    error = each.std(axis=0, ddof=1) / len(each) ** 0.5 if len(each) > 1 else np.zeros(len(grid))
    return each.mean(axis=0) + spread(seen.known, np.ones(len(seen.known))), error


def _draw(
    top: Axes,
    below: Axes,
    found: list[tuple[str, _Seen, Group]],
    ends: tuple[float, float],
    linear: float,
    counted: bool,
) -> None:
    """The curves, on a path with their counts, and below them the nodes, a row a curve."""
    low, high = (np.arcsinh(end / linear) / np.log(10) + side * 4 * _WIDTH for end, side in zip(ends, (-1, 1)))
    grid = np.linspace(low, high, 600)
    x = linear * np.sinh(grid * np.log(10))
    for row, (name, seen, one) in enumerate(found):
        how, (value, error) = style.look(row), _smooth(seen, grid, linear)
        label = f"{name}{_count(one, ' within τ') if counted else ''}" if name else "density"
        marker = how.marker if len(found) > 1 else ""
        top.plot(x, value, color=how.colour, ls=how.dash, marker=marker, markevery=(17 * row, 120), label=label)
        if error.any():
            band = np.maximum(value - error, _FLOOR / 2), np.maximum(value + error, _FLOOR / 2)
            top.fill_between(x, *band, color=how.colour, alpha=0.2, lw=0)
        nodes = seen.nodes[np.isfinite(seen.nodes)]
        below.plot(nodes, np.full(len(nodes), row), "|", color=how.colour, ms=6, mew=0.6)
        below.plot(seen.known, np.full(len(seen.known), row), "d", color=how.colour, mfc="white", ms=3.5, mew=0.8)
    if any(len(seen.nodes) > 1 for _, seen, _ in found):
        top.fill_between([], [], color=style.GREY, alpha=0.3, lw=0, label="±1 standard error over probes")
    below.plot([], [], "|", color=style.GREY, ms=7, ls="none", label="nodes of the probes")
    if any(len(seen.known) for _, seen, _ in found):
        below.plot([], [], "d", color=style.GREY, mfc="white", ms=4, ls="none", label="known beforehand")
    for axes in (top, below):
        axes.set_xlim(x[0], x[-1])
    top.set_yscale("log")
    top.set_ylim(bottom=_FLOOR)
    top.yaxis.set_major_formatter(ticker.FuncFormatter(style.plain))
    top.tick_params(labelbottom=False)
    below.set_ylim(len(found) - 0.4, -0.6)
    below.set_yticks([])
    below.grid(visible=False, axis="y")
    below.spines["left"].set_visible(False)


def _scale(axes: Axes, ends: tuple[float, float], linear: float, apart: float) -> None:
    """The axis of eigenvalues: ticks at 0 and at powers of ten on either side, a share of the axis apart."""
    low, high = (np.arcsinh(end / linear) for end in ends)
    powers = 10.0 ** np.arange(np.floor(np.log10(linear)), np.log10(max(np.abs(ends))))
    ticks, last = [0.0], 0.0
    for power in powers:
        place = float(np.arcsinh(power / linear))
        if place - last >= apart * (high - low):
            ticks += [power, -power]
            last = place
    axes.set_xscale("asinh", linear_width=linear)
    axes.xaxis.set_major_locator(ticker.FixedLocator([tick for tick in ticks if ends[0] <= tick <= ends[1]]))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(style.plain))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlim(ends)


def _count(group: Group, words: str = "") -> str:
    """The number of small eigenvalues with its interval, where it was counted."""
    count, low, high = (number(group, f"dimension{end}") for end in ("", "_low", "_high"))
    return "" if np.isnan(count) else f": {count:.0f} ({low:.0f} to {high:.0f}){words}"
