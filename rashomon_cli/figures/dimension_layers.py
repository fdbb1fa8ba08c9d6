"""How many eigenvalues count as zero in each layer: the number, and its share of the layer's parameters."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rashomon_cli.core.results import Array
from rashomon_cli.figures import layers, style
from rashomon_cli.figures.parts import MOST, named, parts
from rashomon_cli.figures.style import Group, Look

_ALL = Look("#000000")
_AROUND = 1.4  # inches


def by_layer(group: Group) -> Figure | None:
    """A row a layer: the number at τ as a share of its parameters, where these were told, and itself.

    Args:
        group: ``dimension`` with its ends, ``dimension_less_symmetries`` where there are any, ``dimension_parameters``,
            along ``layer``, or along ``t`` and ``layer``: then there is a mark a position.

    Returns:
        The figure; None where nothing was counted.
    """
    told = np.stack([_values(group, f"dimension{end}") for end in ("", "_low")])
    if not np.isfinite(told).any():
        return None
    sizes, points = _parameters(group), parts(group, "t", "dimension", MOST)
    known = bool(np.isfinite(sizes).any())
    figure, panels = layers.frame(group, 1 + known, _AROUND)
    over = dict(zip(reversed(panels), (np.ones(sizes.shape), sizes)))
    for place, ((t, point), lane) in enumerate(zip(points, layers.lanes(len(points)), strict=True)):
        for axes, whole in over.items():
            _marks(axes, point, whole, _ALL if t is None else style.look(place), named(t) or "all directions", lane)
    if (_values(group, "dimension_symmetries") > 0).any() and "dimension_less_symmetries" in group:
        layers.hollow_means(panels[-1], "symmetries aside")
    style.set_scale_from_zero(panels[-1].xaxis, _values(group, "dimension"))
    panels[-1].set_xlabel("number of directions")
    layers.missing(panels[-1], told, "not counted")
    if known:
        _construction(panels[0], group)
        layers.percent(panels[0])
        panels[0].set_xlabel("share of the layer's parameters [%]")
    figure.suptitle("\n".join(textwrap.wrap(_words(group), 105)), fontsize=8)
    style.legend(figure, panels, "outside lower center", columns=4, bars="bars: interval at 95 %")
    return figure


def _marks(axes: Axes, point: Group, whole: Array, how: Look, label: str, lane: float) -> None:
    """Numbers over another, and around each what is left of it without symmetries, where the layer has any."""
    for name, aside in (("dimension_less_symmetries", True), ("dimension", False)):
        if name not in point:
            continue
        shown = np.ones(whole.shape)
        if aside:
            shown[~(_values(point, "dimension_symmetries") > 0)] = np.nan
        value, low, high = (shown * _values(point, f"{name}{end}") / whole for end in ("", "_low", "_high"))
        size = layers.size(point) * (1.3 if aside else 1.0)
        kept: dict[str, Any] = {"low": low, "high": high, "hollow": aside, "lane": lane, "size": size}
        layers.marks(axes, value, how, "" if aside else label, **kept)


def _parameters(group: Group) -> Array:
    """Numbers of parameters of the layers (n,), NaN where nobody told."""
    count = len(style.coordinate(group, "layer").values)
    told = _values(group, "dimension_parameters")
    found: Array = np.fmax.reduce(told.reshape(-1, count)) if told.size else np.full(count, np.nan)
    return found


def _construction(axes: Axes, group: Group) -> None:
    """A stroke in each layer that has more parameters than the examples can say something of."""
    if "dimension_rank_ratio" not in group:
        return
    ratio = np.fmax.reduce(np.atleast_2d(_values(group, "dimension_rank_ratio")))
    rows = np.flatnonzero(ratio < 1)
    if len(rows):
        kept: dict[str, Any] = {"color": style.GREY, "ms": 2.5 * layers.size(group), "mew": 1.2, "ls": "none"}
        label = "Gauss-Newton matrix flat by construction: 1 − n(C − 1)/P"
        axes.plot(1 - ratio[rows], rows, "|", zorder=1.5, label=label, **kept)


def _words(group: Group) -> str:
    """What is counted, and on a path where the number is another than at its beginning."""
    tau = group["tau"]
    words = f"directions with |λ| ≤ τ = {style.plain(float(f'{np.nanmax(tau.values):.3g}'))}"
    words += f" {tau.units}" if tau.units != "1" else ""
    if "dimension_differs" in group:
        differs = (_values(group, "dimension_differs") == 1).any(0)
        words += f"; not constant along the path in {differs.sum()} of {len(differs)} layers"
    return words


def _values(group: Group, name: str) -> Array:
    found: Array = np.zeros(0) if name not in group else np.asarray(group[name].values, dtype=float)
    return found
