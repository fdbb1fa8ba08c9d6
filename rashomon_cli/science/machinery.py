"""Is the machinery inside ever radically revised along a path? How predictions and representation change along it.

Post R, steps 4 and 8: models along a ridge may compute the same thing in other ways. Four changes between two models,
on the same inputs: 1 − cosine of predictions, the same of centred ones, disagreement, 1 − debiased linear CKA.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array, Metric, Result, Variable, scalar, series
from rashomon_cli.science.evaluation import standard_error
from rashomon_cli.science.paths import Path
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.representations import Estimate, debiased_cka, groups, jackknife, view
from rashomon_cli.science.similarity import cosine_gaps

SETS = {"test": "test examples", "ood": "examples of other data"}
_WORDS = {
    "cosine_change": "1 − cosine of predictions on {}",
    "centred_change": "1 − cosine of centred predictions on {}",
    "disagreement": "share of {} with another class",
    "cka_change": "1 − debiased linear CKA of the last representation of {}",
}


def look(problem: Problem, point: Point, *, test: Batches, other: Batches | None = None, tick: Tick = silent) -> Result:
    """What one model does: outputs and last representation on test images and on images of other data.

    Args:
        problem: the model.
        point: θ with its own BatchNorm statistics.
        test: test examples.
        other: inputs that no model was trained on.
        tick: called after each batch.

    Returns:
        ``<set>_outputs`` (n, C) and ``<set>_features`` (n, d) as tensors; the layer's name as ``module``.
    """
    tensors: dict[str, Array] = {}
    module: Metric = None
    for name, batches in (("test", test), ("ood", other)):
        if batches is None:
            continue
        found = view(problem, point, batches, tick)
        tensors[f"{name}_outputs"] = found.outputs.flatten(1).numpy()
        if found.features is not None:
            tensors[f"{name}_features"] = found.features.numpy()
            module = found.module
    return Result(tensors=tensors, metrics={"module": module})


def machinery(
    problem: Problem, path: Path, positions: Sequence[float], seen: Sequence[Result], beside: Sequence[Result] = ()
) -> Result:
    """Changes from the start of a path against its length, and from each position to the next.

    Standard errors take inputs as draws from an unlimited population: ``s/√n`` of means, a jackknife over 20 groups of
    inputs for CKA and for shares. The two ends are independent trainings: the change between them is the yardstick. The
    largest step's share of the sum of all steps is 1/steps where the change is even.

    Args:
        problem: says whether outputs are logits.
        path: the path.
        positions: t (T,), from 0 to 1.
        seen: what :func:`look` found at each.
        beside: no other models are looked at.

    Returns:
        ``machinery_<set>_<change>`` along t from the start, ``…_rate`` per unit of length from each position to the
        next along ``step``, ``…_ends`` between the ends, ``…_largest_step_share``; ``machinery_<set>_cosine``
        itself, and ``arc_length``.
    """
    lengths = path.arc_length(positions)
    steps = np.diff(lengths)
    found = {
        "arc_length": series("t", lengths, "1", "arc length from the start"),
        "step": series("step", (lengths[1:] + lengths[:-1]) / 2, "1", "arc length at the middle of the step"),
        "step_length": series("step", steps, "1", "arc length of the step"),
    }
    for name, words in SETS.items():
        if f"{name}_outputs" not in seen[0].tensors:
            continue
        start = [changes(problem, name, seen[0], now) for now in seen]
        next_ = [changes(problem, name, now, then) for now, then in itertools.pairwise(seen)]
        for change in start[0]:
            key, about = f"machinery_{name}_{change}", _WORDS[change].format(words)
            found |= _described(key, about, [c[change] for c in start], [c[change] for c in next_], steps)
        gaps = found[f"machinery_{name}_cosine_change"]
        cosine = f"cosine of predictions on {words} with the start's"
        found[f"machinery_{name}_cosine"] = series("t", 1 - gaps.values, "1", cosine, gaps.stderr)
    return Result(found, metrics={"machinery_module": seen[0].metrics["module"]})


def changes(problem: Problem, name: str, a: Result, b: Result) -> dict[str, Estimate]:
    """How far two models are apart on one set of inputs, by the measure's name; only those that exist.

    Args:
        problem: says whether outputs are logits: then predictions are softmax vectors, else the outputs.
        name: of the set.
        a: one model, as :func:`look` found it.
        b: the other.

    Returns:
        0 each for equal models.
    """
    one, two = (torch.from_numpy(r.tensors[f"{name}_outputs"]).double() for r in (a, b))
    p, q = (one.softmax(-1), two.softmax(-1)) if problem.classifies else (one, two)
    found = {
        "cosine_change": _mean(cosine_gaps(p, q)),
        "centred_change": _mean(cosine_gaps(p - p.mean(0), q - q.mean(0))),
    }
    if problem.classifies:
        found["disagreement"] = _mean((one.argmax(-1) != two.argmax(-1)).double())
    features = [r.tensors.get(f"{name}_features") for r in (a, b)]
    if features[0] is not None and features[1] is not None:
        alike = debiased_cka(torch.from_numpy(features[0]), torch.from_numpy(features[1]))
        found["cka_change"] = Estimate(1 - alike.value, 1 - alike.left_out, alike.stderr)
    return found


def _mean(values: Tensor) -> Estimate:
    """The mean over inputs (n,), and with each group left out."""
    member = groups(len(values))
    parts = int(member.max()) + 1
    sums = torch.zeros(parts, dtype=torch.float64).index_add_(0, member, values)
    left = (values.sum() - sums) / (len(values) - torch.bincount(member))
    return Estimate(float(values.mean()), left.numpy(), standard_error(values, math.inf))


def _described(
    key: str, words: str, start: Sequence[Estimate], next_: Sequence[Estimate], steps: Array
) -> dict[str, Variable]:
    """The variables of one change: from the start, rates, between the ends, the largest step."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.array([e.value for e in next_]) / steps
        errors = np.array([e.stderr for e in next_]) / steps
    values, spreads = [e.value for e in start], [e.stderr for e in start]
    share = _largest_share(np.array([e.value for e in next_]))
    left = np.array([_largest_share(column) for column in np.stack([e.left_out for e in next_]).T])
    error = jackknife(left) if np.isfinite(left).all() else math.nan
    return {
        key: series("t", np.array(values), "1", f"{words}, from the start", spreads),
        f"{key}_rate": series("step", rates, "1", f"{words}, from a position to the next, per unit of length", errors),
        f"{key}_ends": scalar(values[-1], "1", f"{words}, between the two ends", spreads[-1]),
        f"{key}_largest_step_share": scalar(share, "1", f"largest step's share of all steps' {words}", error),
    }


def _largest_share(steps: Array) -> float:
    """Part of the sum that the largest of several changes has; NaN where there is no change."""
    kept = np.clip(steps, 0, None)  # debiased CKA may fall below 0 by its noise
    return float(kept.max() / kept.sum()) if kept.sum() > 0 else math.nan
