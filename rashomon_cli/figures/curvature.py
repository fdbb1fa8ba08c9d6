"""Curvature in named directions: along a path as lines, at a single model as dots, with standard errors."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rashomon_cli.core.results import Variable
from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group, Look

_QUANTITIES = {"hvp_norm_": "‖Hv‖", "curvature_": "vᵀHv"}
_DIRECTIONS = ("straight", "detour", "tangent", "random")
_EIGENVALUE = "largest eigenvalue of H"
_EIGENVALUE_LOOK = Look(style.GREY, "P", style.DASHES[2], filled=False)


@style.styled
def curvature(group: Group) -> Figure | None:
    """Lengths of Hessian-vector products beside the curvatures, for unit vectors v.

    The largest eigenvalue stands beside them. A direction that does not exist is left out.

    Args:
        group: ``hvp_norm_<direction>``, ``curvature_<direction>`` and ``eigenvalue_max``, along ``t`` or scalars.

    Returns:
        The figure; None where there is no such variable.
    """
    dims = ("t",) if any(variable.dims == ("t",) for variable in group.values()) else ()
    group = {name: variable for name, variable in group.items() if variable.dims == dims}
    panels = {words: found for prefix, words in _QUANTITIES.items() if (found := _directions(group, prefix))}
    eigenvalue = group.get("eigenvalue_max")
    if eigenvalue is not None and np.isfinite(eigenvalue.values).any():
        # At the top eigenvector both quantities equal the eigenvalue; among lines it would flatten the curvatures.
        for words in ["‖Hv‖"] if dims else _QUANTITIES.values():
            panels.setdefault(words, {})[_EIGENVALUE] = eigenvalue
    if not panels:
        return None
    looks = {name: style.look(index) for index, name in enumerate(_names(group))} | {_EIGENVALUE: _EIGENVALUE_LOOK}
    return _lines(group, panels, looks) if dims else _dots(panels, looks)


def _names(group: Group) -> list[str]:
    """Directions that occur in a group's names, the known ones first, so that each keeps its colour in every figure."""
    found = [name.removeprefix(prefix) for prefix in _QUANTITIES for name in group if name.startswith(prefix)]
    return list(dict.fromkeys([*_DIRECTIONS, *(name for name in found if not name.startswith("plain_"))]))


def _directions(group: Group, prefix: str) -> dict[str, Variable]:
    named = {name: group.get(prefix + name) for name in _names(group)}
    return {name: v for name, v in named.items() if v is not None and np.isfinite(v.values).any()}


def _lines(group: Group, panels: dict[str, dict[str, Variable]], looks: dict[str, Look]) -> Figure:
    figure = style.new_figure(3.2)
    t = style.coordinate(group, "t")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (words, found) in zip(grid, panels.items()):
        for name, variable in found.items():
            style.draw_series(axes, t.values, variable, name, looks[name])
        style.set_scale(axes.yaxis, list(found.values()))
        if min(np.nanmin(v.values) for v in found.values()) < 0:
            axes.axhline(0, color=style.GREY, lw=0.8, zorder=0.9)
        axes.set_xlabel(style.label(t))
        axes.set_ylabel(style.label(next(iter(found.values())), words))
    style.legend(figure, list(grid))
    return figure


def _dots(panels: dict[str, dict[str, Variable]], looks: dict[str, Look]) -> Figure:
    names = list(dict.fromkeys(name for found in panels.values() for name in found))
    figure = style.new_figure(1.0 + 0.3 * max(len(names), 2))
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (words, found) in zip(grid, panels.items()):
        for name, variable in found.items():
            how = looks[name]
            error = None if variable.stderr is None else np.nan_to_num(variable.stderr)
            axes.errorbar(
                variable.values, names.index(name), xerr=error, fmt=how.marker, color=how.colour, ms=5, capsize=3
            )
        style.set_scale(axes.xaxis, list(found.values()))
        axes.set_xlabel(style.label(next(iter(found.values())), words))
        if min(float(v.values) for v in found.values()) < 0:
            axes.axvline(0, color=style.GREY, lw=0.8, zorder=0.9)
    grid[0].set_yticks(range(len(names)), names)
    style.legend(figure, list(grid))
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    return figure
