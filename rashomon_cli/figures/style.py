"""What all figures share: colours and markers that read without colour and in grey, labels, scales, and files.

Figures are made through matplotlib's objects, so that no display and no global state is needed. A user's matplotlibrc
does not change them.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from matplotlib import style, ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rashomon_cli.core.results import Array, Variable

WIDTH = 7.0
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
GREY = "#595959"
CROWDED = 30
_WIDE = 10.0
_FEW = 5
_UNITS = {"1": "", "percent": "%"}
_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.05,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "svg.hashsalt": "rashomon",
}

P = ParamSpec("P")
R = TypeVar("R")
Group = Mapping[str, Variable]
_Place = Literal["outside upper center", "outside lower center"]


@dataclass(frozen=True)
class Look:
    """How one series is drawn."""

    colour: str
    marker: str = "o"
    dash: Any = "-"
    filled: bool = True


def look(index: int) -> Look:
    """The look of the n-th series of a figure."""
    return Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], DASHES[index % len(DASHES)])


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a function under this package's matplotlib settings and no others."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with style.context(_RC, after_reset=True):
            return draw(*args, **kwargs)

    return wrapped


def new_figure(height: float) -> Figure:
    """An empty figure of the common width; the height is in inches."""
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    return figure


@styled
def encode(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """A figure as the content of a file; the same figure gives the same bytes.

    Args:
        figure: what a function of this layer returned.
        form: the file format.

    Returns:
        The bytes of the file.
    """
    stream = io.BytesIO()
    metadata = {"Software": None} if form == "png" else {"Date": None}
    figure.savefig(stream, format=form, metadata=metadata)
    return stream.getvalue()


def label(variable: Variable, words: str = "") -> str:
    """An axis label: ``words`` or the long name, with the unit in brackets unless it is 1 or said already."""
    text = words or variable.long_name
    unit = _UNITS.get(variable.units, variable.units)
    return f"{text} [{unit}]" if unit and not re.search(rf"\b{re.escape(unit)}s?\b", text) else text


def coordinate(group: Group, dim: str) -> Variable:
    """The values along a dimension; positions counted from 0 where the group has none."""
    if dim in group:
        return group[dim]
    size = next(v.values.shape[v.dims.index(dim)] for v in group.values() if dim in v.dims)
    return Variable((dim,), np.arange(size), "1", dim)


def along(group: Group, name: str, dim: str) -> Variable | None:
    """A variable of a group that runs along one dimension and has a finite value."""
    found = group.get(name)
    return found if found is not None and found.dims == (dim,) and np.isfinite(found.values).any() else None


def draw_series(axes: Axes, x: Array, variable: Variable, name: str, how: Look) -> None:
    """One line with ±1 standard error: bars, or a band where the points are many; NaN is left out."""
    there = np.isfinite(variable.values)
    x, y = x[there], variable.values[there]
    error = None if variable.stderr is None else np.nan_to_num(variable.stderr[there])
    face = how.colour if how.filled else "white"
    crowded = len(x) > CROWDED
    kept: dict[str, Any] = {"color": how.colour, "ls": how.dash, "marker": how.marker, "mfc": face, "label": name}
    kept["markevery"] = max(1, len(x) // 15) if crowded else 1
    if error is not None and crowded:
        axes.fill_between(x, y - error, y + error, color=how.colour, alpha=0.25, lw=0)
    bars = None if crowded else error
    axes.errorbar(x, y, bars, elinewidth=0.9, capsize=2, capthick=0.9, **kept)


def set_scale(axis: Any, variables: Sequence[Variable]) -> None:
    """Linear where the values are of one size; logarithmic where they are not; linear around 0 where signs differ.

    Args:
        axis: ``axes.xaxis`` or ``axes.yaxis``.
        variables: what is drawn along it; each has a finite value.
    """
    low, high, sizes, unsure = np.inf, 0.0, [], []
    for variable in variables:
        there = np.isfinite(variable.values)
        size = np.abs(variable.values[there])
        error = np.zeros(size.shape) if variable.stderr is None else np.nan_to_num(variable.stderr[there])
        low, high = min(low, (variable.values[there] - error).min()), max(high, size.max())
        sizes.append(float(np.median(size)))
        unsure.append(float((size + error).max(where=size <= 2 * error, initial=0.0)))
    set_to = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    if low > 0 and high > _WIDE * min(np.nanmin(np.abs(v.values)) for v in variables):
        set_to("log")
        room = _room(axis)
        subs = [1, 2, 5] if high < (1e3 if room > _FEW else 1e2) * low else [1]
        axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=room if axis.axis_name == "x" else None))
    elif (
        low < 0
        and high > _WIDE * min(sizes)
        and (edge := _decade(max(unsure) or min(filter(None, sizes), default=high))) < high
    ):
        set_to("symlog", linthresh=edge)
        subs = [1, 2, 5] if high < 1e2 * edge else [1]
        axis.set_major_locator(ticker.SymmetricalLogLocator(base=10, linthresh=edge, subs=subs))
    else:
        return
    axis.set_major_formatter(ticker.FuncFormatter(plain))
    axis.set_minor_formatter(ticker.NullFormatter())


def set_scale_from_zero(axis: Any, values: Array) -> None:
    """As :func:`set_scale` of values ≥ 0; where some are 0, linear below the decade of the least other one.

    Args:
        axis: ``axes.xaxis`` or ``axes.yaxis``.
        values: what is drawn along it, of any shape; NaN is left out.
    """
    values = values[np.isfinite(values)]
    edge = 10.0 ** np.floor(np.log10(values.min(where=values > 0, initial=1.0)))
    if (values > 0).any() and (values > 0).all():
        set_scale(axis, [Variable(("k",), values)])
    elif values.max(initial=0.0) > _WIDE * edge:
        (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("symlog", linthresh=edge)
        decades = np.arange(np.log10(edge), np.log10(values.max()) + 1)
        step = -(-len(decades) // _room(axis))
        axis.set_major_locator(ticker.FixedLocator([0.0, *10.0 ** decades[step - 1 :: step]]))
        axis.set_major_formatter(ticker.FuncFormatter(plain))


def _room(axis: Any) -> int:
    """How many labels of powers of ten have room along an axis."""
    return round(12 * axis.axes.get_position().width) if axis.axis_name == "x" else 9


def _decade(value: float) -> float:
    """The power of ten at or above a positive value."""
    return float(10.0 ** np.ceil(np.log10(value)))


def plain(value: float, _: object = None) -> str:
    """A tick's number without superscripts, which would be too small to read."""
    mantissa, e, exponent = f"{value:g}".partition("e")
    return (f"{mantissa}e{int(exponent)}" if e else mantissa).replace("-", "−")


def legend(
    figure: Figure,
    panels: Sequence[Axes],
    place: _Place = "outside upper center",
    columns: int = 5,
    bars: str = "±1 standard error",
) -> None:
    """One legend outside all panels: each label once, and what error bars mean where there are any and it is said."""
    entries = {text: handle for axes in panels for handle, text in zip(*axes.get_legend_handles_labels())}
    if bars and any(axes.collections for axes in panels):
        entries[bars] = Line2D([], [], color=GREY, marker="|", ls="none", ms=8)
    rows = -(-len(entries) // columns)
    while entries:
        columns = -(-len(entries) // rows)
        made = figure.legend(list(entries.values()), list(entries), loc=place, ncols=columns)
        if columns == 1 or made.get_window_extent().width <= figure.bbox.width:
            return
        made.remove()
        rows += 1


def shorten(text: str, length: int) -> str:
    """A name that fits: its middle gives way to an ellipsis, since families differ at either end."""
    if len(text) <= length:
        return text
    tail = text[-((length - 1) * 2 // 3) :]
    tail = tail[max(0, tail.find("-", 0, length // 4)) :]
    return f"{text[: length - 1 - len(tail)]}…{tail}"
