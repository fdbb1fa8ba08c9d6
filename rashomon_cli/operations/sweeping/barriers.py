"""What a sweep found: the figures of each pair of models, their means at each width, and intervals over the pairs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rashomon_cli.core.results import Variable, series
from rashomon_cli.operations.sweeping.pairs import Trio
from rashomon_cli.store import Run

WAYS = {
    "naive": "straight line",
    "reset": "straight line, statistics reset",
    "aligned": "straight line, aligned",
    "aligned_reset": "straight line, aligned and statistics reset",
    "curve": "Bezier curve",
}
_MODEL = {
    "train_loss": ("nat", "training loss of the models"),
    "train_accuracy": ("1", "training accuracy of the models"),
    "test_loss": ("nat", "test loss of the models"),
    "test_accuracy": ("1", "test accuracy of the models"),
}
_BARRIERS = {
    "barrier_loss": ("nat", "barrier in training loss"),
    "barrier_error": ("percent", "barrier in training error"),
    "midpoint_test_error": ("percent", "test error half-way"),
    "midpoint_test_rise": ("nat", "test loss half-way above the mean of the ends"),
}
_BESIDE_METRICS = ("test_loss", "midpoint_test_rise")
_ABSENT = (math.nan, math.nan)
Numbers = dict[str, tuple[float, float]]


def figures(trio: Trio) -> Numbers:
    """The figures of one pair, each with its standard error over examples, NaN where there is none.

    The barriers are those of the pair's runs of ``align`` and ``connect``. ``midpoint_test_rise`` is the barrier as
    Jordan et al. 2022 (arXiv 2211.08403) give it: test loss at t = ½ less the mean of both ends.

    Args:
        trio: the runs of the pair.

    Returns:
        Figures by name; those of a run that there is not are absent.
    """
    found: Numbers = {}
    if trio.a and trio.b:
        for name in _MODEL:
            # The mean of both models: their own standard errors share the examples, and are not combined.
            found[name] = (_number(trio.a, name) + _number(trio.b, name)) / 2, math.nan
    for run, prefix, names in _sources(trio):
        for way, group in names.items():
            for kind in ("barrier_loss", "barrier_error"):
                name = prefix.format(way=way, kind=kind)
                found[f"{kind}_{way}"] = _number(run, name), _number(run, f"{name}_stderr")
            for kind, value in _half_way(group).items():
                found[f"{kind}_{way}"] = value
    return found


def _sources(trio: Trio) -> Iterator[tuple[Run, str, dict[str, Mapping[str, Variable]]]]:
    """The runs that hold barriers, how they name them, and their profiles by way."""
    if trio.aligned:
        groups = trio.aligned.measurements()
        yield trio.aligned, "{kind}_{way}", {way: groups[way] for way in WAYS if way in groups}
    if trio.path:
        yield trio.path, "{way}_{kind}", {"curve": trio.path.measurements()["curve"]}


def _half_way(profile: Mapping[str, Variable]) -> Numbers:
    """Test error and rise of the test loss at t = ½; nothing where the grid has no such point."""
    (middle,) = np.nonzero(profile["t"].values == 0.5)
    if not len(middle):
        return {}
    error, loss = profile["test_error"], profile["test_loss"]
    at = int(middle[0])
    stderr = math.nan if error.stderr is None else float(error.stderr[at])
    rise = float(loss.values[at] - (loss.values[0] + loss.values[-1]) / 2)
    return {"midpoint_test_error": (float(error.values[at]), stderr), "midpoint_test_rise": (rise, math.nan)}


def _number(run: Run, name: str) -> float:
    value = run.metrics.get(name)
    return math.nan if value is None else float(value)


def summary(factors: Sequence[float], pairs: int, trios: Sequence[Trio]) -> tuple[dict[str, Variable], dict[str, Any]]:
    """Variables and headline numbers of a sweep.

    Args:
        factors: width multipliers (W,).
        pairs: number of pairs at each (K).
        trios: what there is of each pair, the width varying slowest (W · K).

    Returns:
        For each figure X the mean ``X`` along ``width`` with its standard error over pairs, ``X_interval`` (the half
        width of the 95 % t interval with n − 1 degrees of freedom) and the pairs themselves as ``X_pairs``, (W, K),
        with standard errors over examples; and the same as lists over widths.
    """
    from rashomon_cli.science.intervals import mean

    rows = [trios[at : at + pairs] for at in range(0, len(trios), pairs)]
    found = [[figures(trio) for trio in row] for row in rows]
    variables, metrics = _axes(factors, rows)
    for name, units, words in _names():
        cells = np.array([[each.get(name, _ABSENT) for each in row] for row in found])
        if not np.isfinite(cells[..., 0]).any():
            continue
        means = [mean(row[:, 0]) for row in cells]
        values, errors, halves = (np.array([getattr(m, f) for m in means]) for f in ("value", "stderr", "half_width"))
        over = f"{words}, mean over pairs"
        stderr = cells[..., 1] if np.isfinite(cells[..., 1]).any() else None
        variables |= {
            name: series("width", values, units, over, errors),
            f"{name}_interval": series("width", halves, units, f"{over}: half of its 95 % t interval"),
            f"{name}_pairs": Variable(("width", "pair"), cells[..., 0], units, words, stderr),
        }
        if not name.startswith(_BESIDE_METRICS):
            metrics |= {name: values.tolist(), f"{name}_stderr": errors.tolist()}
        if name.startswith("barrier"):
            metrics[f"{name}_interval"] = halves.tolist()
    return variables, metrics


def _names() -> Iterator[tuple[str, str, str]]:
    """Every figure's name, its units, and what it is."""
    for name, (units, words) in _MODEL.items():
        yield name, units, words
    for (kind, (units, words)), (way, path) in itertools.product(_BARRIERS.items(), WAYS.items()):
        yield f"{kind}_{way}", units, f"{words}: {path}"


def _axes(factors: Sequence[float], rows: Sequence[Sequence[Trio]]) -> tuple[dict[str, Variable], dict[str, Any]]:
    """Widths, sizes of the networks, pairs and their seeds."""
    sizes = np.array([_size(row) for row in rows])
    seeds = np.array([[member.config.seed for member in trio.pair.models] for trio in rows[0]])
    variables = {
        "width": series("width", list(factors), "1", "width multiplier"),
        "pair": series("pair", [trio.pair.number for trio in rows[0]], "1", "pair of models"),
        "seed_a": series("pair", seeds[:, 0], "1", "seed of the first model"),
        "seed_b": series("pair", seeds[:, 1], "1", "seed of the second model"),
        "parameters": series("width", sizes[:, 0], "1", "trained parameters P"),
        "parameters_per_constraint": series(
            "width", sizes[:, 1], "1", "parameters over training examples × outputs, P/(N·C)"
        ),
    }
    metrics = {
        "width": list(factors),
        "parameters": [None if math.isnan(size) else int(size) for size in sizes[:, 0]],
        "parameters_per_constraint": sizes[:, 1].tolist(),
        "pairs": [sum(trio.aligned is not None for trio in row) for row in rows],
    }
    return variables, metrics


def _size(row: Sequence[Trio]) -> tuple[float, float]:
    """P and P/(N·C) of the models of one width; NaN where none could be trained.

    At P ≈ N·C a model can just fit every output of every example (Belkin et al. 2019, arXiv 1812.11118).
    """
    for run in (run for trio in row for run in (trio.a, trio.b) if run is not None):
        data = run.record.data or {}
        count = _number(run, "parameters")
        return count, count / (int(data["train_count"]) * int(data["num_classes"]))
    return _ABSENT
