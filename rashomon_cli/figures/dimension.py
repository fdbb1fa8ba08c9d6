"""How many eigenvalues count as zero: as a curve over the tolerance, by each route, along a path, and by layer."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array
from rashomon_cli.figures import dimension_layers, layers, style
from rashomon_cli.figures.parts import MOST, named, parts
from rashomon_cli.figures.style import Group, Look

_ROUTES = {
    "gram": ("by the Gram matrix", Look(style.COLOURS[1], "s", style.DASHES[1], filled=False)),
    "top": ("by all pairs beyond τ", Look(style.COLOURS[2], "^", style.DASHES[2], filled=False)),
    "quadrature": ("by quadrature", Look(style.COLOURS[3], "D", style.DASHES[3], filled=False)),
}
_VISIBLE = 0.01  # of the axis
_ALL = Look("#000000")
_REST = Look(style.GREY, "P", style.DASHES[2])
_WORDS = {"dimension": ("all directions", _ALL), "dimension_less_symmetries": ("symmetries aside", _REST)}


@style.styled
def dimension(group: Group) -> Figure | None:
    """The number of |λ| ≤ τ over τ with its interval: by route at a model, a curve a position on a path.

    On a path the number at τ stands beside it, over t, and what is said of its being constant above. By layer it is
    that number alone, and its share of the layer's parameters where these were told.

    Args:
        group: variables of the quantity ``dimension``, of a point or along ``t``, or of either by ``layer``.

    Returns:
        The figure; None where the group has no such curve.
    """
    if layers.layered(group, "dimension"):
        return dimension_layers.by_layer(group)
    if "dimension_curve" not in group or "dimension_curve_taus" not in group:
        return None
    points = parts(group, "t", "dimension_curve", MOST)
    whole = len(points) == 1 and points[0][0] is None
    figure = style.new_figure(3.6)
    grid = figure.subplots(1, 1 if whole else 2, squeeze=False, width_ratios=None if whole else [3, 2])[0]
    axes = grid[0]
    for place, (t, point) in enumerate(points):
        if whole:
            _routes(axes, point)
        label, first = (_taken(point), 0) if whole else (named(t), place)
        _curve(axes, point, "dimension_curve", label, style.look(place), first, band=0.2 if whole else 0.12)
    _frame(axes, group)
    axes.set_ylabel("number of eigenvalues |λ| ≤ τ")
    if not whole:
        _along(grid[1], group)
    words, bars = _words(group), f"{'band' if whole else 'bands and bars'}: interval at 95 %"
    if words:
        figure.suptitle("\n".join(textwrap.wrap(words, 105)), fontsize=8)
    style.legend(figure, list(grid), "outside lower center", columns=3, bars=bars)
    return figure


def _curve(axes: Axes, point: Group, name: str, label: str, how: Look, first: int = 0, band: float = 0.0) -> None:
    """A count over τ, where it has a value, and its interval."""
    variable = point.get(name)
    if variable is None or variable.values.ndim != 1 or not np.isfinite(variable.values).any():
        return
    taus, count = point["dimension_curve_taus"].values, variable.values
    there = np.isfinite(count)
    face = how.colour if how.filled else "white"
    kept: dict[str, Any] = {
        "color": how.colour,
        "ls": how.dash,
        "marker": how.marker,
        "mfc": face,
        "markevery": (first, 6),
    }
    axes.plot(taus[there], count[there], label=label, **kept)
    if band:
        low, high = (point[f"{name}_{end}"].values for end in ("low", "high"))
        axes.fill_between(taus, low, high, color=how.colour, alpha=band, lw=0)


def _taken(point: Group) -> str:
    """By which routes the intervals were narrowest."""
    routes = point.get("dimension_curve_route")
    names = [] if routes is None else [name for name in _ROUTES if name in routes.values]
    return f"narrowest interval: {', '.join(names)}" if names else "number and its interval"


def _routes(axes: Axes, point: Group) -> None:
    """What each route says by itself, the Gauss-Newton matrix where it is another, and the count less symmetries."""
    own = "ggn_dimension_curve" in point
    for place, (route, (words, how)) in enumerate(_ROUTES.items(), 1):
        # Of a Hessian the Gram matrix says first of all the curve of the Gauss-Newton matrix.
        if _says_more(point, route) and not (own and route == "gram"):
            _curve(axes, point, f"dimension_curve_{route}", words, how, place)
    if own:
        _curve(axes, point, "ggn_dimension_curve", "Gauss-Newton matrix, by the Gram matrix", _ROUTES["gram"][1], 1)
    if _value(point, "dimension_symmetries").max(initial=0) > 0:
        _curve(axes, point, "dimension_less_symmetries_curve", *_WORDS["dimension_less_symmetries"], 4)


def _says_more(point: Group, route: str) -> bool:
    """Whether a route's curve lies visibly apart from the one that was taken."""
    own, taken = _value(point, f"dimension_curve_{route}"), _value(point, "dimension_curve")
    if own.shape != taken.shape or np.isnan(own).all():
        return False
    apart: float = np.nanmax(np.abs(own - taken), initial=0.0)
    return bool(apart > _VISIBLE * np.nanmax(taken, initial=0.0))


def _frame(axes: Axes, group: Group) -> None:
    """The axis of τ, and τ itself."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(style.plain))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_ylim(bottom=0)
    axes.set_xlabel(style.label(group["dimension_curve_taus"], "tolerance τ"))
    taus = np.unique(_value(group, "tau"))
    for tau in taus[np.isfinite(taus)]:
        label = f"τ = {style.plain(float(f'{tau:.3g}'))}"
        axes.axvline(tau, color=style.GREY, ls=style.DASHES[2], lw=1.0, zorder=0.9, label=label)


def _along(axes: Axes, group: Group) -> None:
    """The number at τ over t with its interval, and the same less symmetries where there are any."""
    t = style.coordinate(group, "t")
    told = _value(group, "dimension_symmetries").max(initial=0) > 0
    shown = {name: kept for name, kept in _WORDS.items() if told or name == "dimension"}
    width = 0.012 * float(np.ptp(t.values) or 1.0)
    for number, (name, (label, how)) in enumerate(shown.items()):
        variable = style.along(group, name, "t")
        if variable is None:
            continue
        value = variable.values
        ends = np.stack([value - group[f"{name}_low"].values, group[f"{name}_high"].values - value])
        kept: dict[str, Any] = {"color": how.colour, "ls": how.dash, "marker": how.marker, "label": label}
        axes.errorbar(t.values + number * width, value, np.nan_to_num(ends).clip(0), elinewidth=0.9, capsize=2, **kept)
    axes.set_xlabel(style.label(t))
    axes.set_ylabel("number at τ")


def _words(group: Group) -> str:
    """What the examples allow, and on a path whether the number is constant."""
    found = []
    if "dimension_rank_ratio" in group:
        ratio = float(np.nanmax(_value(group, "dimension_rank_ratio")))
        rest = f", so {100 * (1 - ratio):.0f} % of the Gauss-Newton matrix is flat by construction" if ratio < 1 else ""
        found.append(f"n(C − 1)/P = {ratio:.3g}{rest}")
    if "dimension_constant" in group:
        found.append(str(group["dimension_constant"].values))
    return "; ".join(found)


def _value(group: Group, name: str) -> Array:
    found: Array = np.zeros(0) if name not in group else np.asarray(group[name].values, dtype=float)
    return found
