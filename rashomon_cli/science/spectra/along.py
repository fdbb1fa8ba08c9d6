"""Is the dimension constant along a path? From what was stored at its points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rashomon_cli.core.results import Array, Result, Variable, entry
from rashomon_cli.science.spectra import constancy, counting
from rashomon_cli.science.spectra.constancy import Constancy
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.dimensions import BOUNDS, NAMES, UNTOLD
from rashomon_cli.science.spectra.routes import PREFIX


def along(variables: Mapping[str, Variable]) -> Result:
    """Is the dimension constant along a path? Every point against the first, at τ.

    Densities of common probes are compared probe by probe; counts that were taken from other routes at both points by
    their bounds. The narrower is taken. All comparisons hold together with the probability of a single interval.

    Args:
        variables: of :func:`~rashomon_cli.science.dimension.joined`, stacked along t, and ``t``, the positions.

    Returns:
        What :func:`~rashomon_cli.science.spectra.constancy.result` gives of all directions and, if these were counted,
        of those without symmetries: nothing is told where at either point symmetries were not.
    """
    ts = variables["t"].values
    found: dict[str, Variable] = {}
    for name in (name for name in NAMES if name in variables):
        value, low, high = (variables[f"{name}{end}"].values for end in ("", "_low", "_high"))
        routes = variables[f"{name}_route"].values
        least = constancy.separate(ts, value, low, high, np.isin(routes, BOUNDS))
        if f"{PREFIX}density_alpha" in variables:
            least = least.narrower(_paired(variables, ts, name == "dimension"))
        found |= _told(least, routes != UNTOLD, name)
    return Result(found)


def _told(least: Constancy, told: Array, name: str) -> dict[str, Variable]:
    """The comparison where symmetries were told at both points (T,)."""
    both = told & told[0]
    lost = ~both & (np.arange(len(told)) > 0)
    ends = (np.where(lost, end, own) for end, own in ((-np.inf, least.low), (np.inf, least.high)))
    least = Constancy(least.ts, np.where(both, least.value, np.nan), *ends)
    found = dict(constancy.result(least, name).variables)
    if lost.any() and not least.differs.any():
        places = ", ".join(f"{t:g}" for t in least.ts[~told])
        words = f"whether it is constant cannot be told: symmetries could not be at t = {places}"
        found[f"{name}_constant"] = replace(found[f"{name}_constant"], values=np.asarray(words))
    return found


def _paired(variables: Mapping[str, Variable], ts: Array, with_symmetry: bool) -> Constancy:
    """Differences from the first point by common probes."""
    raw = {name.removeprefix(PREFIX): v for name, v in variables.items() if name.startswith(f"{PREFIX}density_")}
    densities = [Density.of(entry(raw, "t", place)) for place in range(len(ts))]
    tau, level = np.atleast_1d(variables["tau"].values[0]), constancy.level(len(ts))
    changes = [
        counting.change(densities[0], each, tau, with_symmetry=with_symmetry, level=level) for each in densities[1:]
    ]
    parts = ([0.0, *(float(getattr(each, part)[0]) for each in changes)] for part in ("value", "low", "high"))
    return constancy.constancy(ts, *map(np.array, parts))
