"""Which of what a probe found is told in numbers, as the metrics of its run."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from rashomon_cli.core.results import Metric, Variable

_CURVE = re.compile(r"(^|_)(tolerance|probe|lanczos_step)(_index)*$")  # of these there are many, whatever joins them
_RAW = ("density_", "dimension_density_")  # what a spectral density is made of


def told(variables: Mapping[str, Variable]) -> dict[str, Metric]:
    """Numbers and lists with their standard errors; at several points, by layer, or both, lists of those.

    Curves, arrays of more dimensions and what only a plot needs are in ``metrics.h5`` alone; words are told where
    there are any. Lists follow the positions that they lie along, those by layer behind all others.
    """
    metrics: dict[str, Metric] = {}
    chosen = {name: variable for name, variable in variables.items() if _is_told(name, variable)}
    dims = sorted(dict.fromkeys(v.dims for v in chosen.values()), key=lambda each: ("layer" in each, len(each)))
    placed = sorted(chosen, key=lambda name: (dims.index(chosen[name].dims), (name,) != chosen[name].dims))
    for name in placed:
        variable = chosen[name]
        metrics[name] = np.asarray(variable.values).tolist()
        if variable.stderr is not None:
            metrics[f"{name}_stderr"] = np.asarray(variable.stderr).tolist()
    return metrics


def _is_told(name: str, variable: Variable) -> bool:
    """Whether a variable is a headline: at one point and of one layer a number, a list or words that say something."""
    if name.startswith(_RAW):
        return False
    dims, values = list(variable.dims), np.asarray(variable.values)
    for place in ("t", "layer"):
        if dims[:1] == [place]:
            del dims[0]
    if len(dims) > 1 or any(_CURVE.search(dim) for dim in dims):
        return False
    return values.dtype.kind not in "UO" or bool((values != "").any())
