"""The simplest quantities of a probe: how good a point is, and where on its path it lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rashomon_cli.core.results import Result, Variable, scalar, series
from rashomon_cli.science.evaluation import evaluate
from rashomon_cli.science.paths import Path, frame
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent


def losses(problem: Problem, point: Point, *, train: Batches, test: Batches, tick: Tick = silent) -> Result:
    """Loss, error, cross-entropy and expected calibration error on both splits, with standard errors.

    Args:
        problem: the model and loss.
        point: θ with its own BatchNorm statistics.
        train: un-augmented training examples.
        test: test examples.
        tick: called after each batch.

    Returns:
        ``train_loss``, ``train_error`` …; ``ece`` is that on the test examples.
    """
    found: dict[str, Variable] = {}
    for split, batches, words in (("train", train, "training"), ("test", test, "test")):
        e = evaluate(problem, point.theta, point.buffers, batches, tick)
        found[f"{split}_loss"] = scalar(e.loss, "nat", f"{words} loss", e.loss_stderr)
        if problem.classifies:
            calibration, spread = e.ece()
            found[f"{split}_error"] = scalar(e.error, "percent", f"{words} error", e.error_stderr)
            found[f"{split}_cross_entropy"] = scalar(
                e.cross_entropy, "nat", f"{words} cross-entropy", e.cross_entropy_stderr
            )
            name = "ece" if split == "test" else "train_ece"
            found[name] = scalar(calibration, "1", f"expected calibration error, {words}", spread)
    return Result(found)


def distances(path: Path, ts: Sequence[float]) -> Result:
    """Euclidean distance from the start and arc length at positions of a path.

    Args:
        path: the path.
        ts: positions (T,).

    Returns:
        ``distance`` and ``arc_length`` over t, and ``detour_share``: how planar the path is.
    """
    plane = frame(path)
    return Result(
        {
            "distance": series("t", np.array([path.distance(t) for t in ts]), "1", "distance from the start"),
            "arc_length": series("t", path.arc_length(ts), "1", "arc length from the start"),
            "detour_share": scalar(
                plane.share if plane else float("nan"), "1", "share of the bends' variance along the detour"
            ),
        }
    )
