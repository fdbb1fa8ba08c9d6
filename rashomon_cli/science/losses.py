"""The simplest quantity of a probe: how good a point is."""

from __future__ import annotations

from rashomon_cli.core.results import Result, Variable, scalar
from rashomon_cli.science.evaluation import evaluate
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
