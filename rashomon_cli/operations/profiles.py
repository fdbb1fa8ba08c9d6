"""Profiles of a path: losses and errors at positions along it and along the straight line, and the barriers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.results import Array, Result, Variable, series
from rashomon_cli.operations import problems
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.science.evaluation import Evaluation
    from rashomon_cli.science.paths import Path
    from rashomon_cli.sources.batches import Batches


@dataclass
class Measured:
    """Positions of one path, evaluated."""

    ts: list[float]
    train: list[Evaluation]
    test: list[Evaluation]


def measure(
    context: Context, job: Job, loaded: problems.Loaded, path: Path, points: int, samples: Samples, seed: int
) -> dict[str, Measured]:
    """Evaluate curve and straight line; their common ends once. Each position is kept as a part."""
    from rashomon_cli.science import paths

    train, test = drawn(loaded, samples, seed)
    straight = paths.line(path.points[0], path.points[-1])
    ts = [float(t) for t in np.linspace(0, 1, points)]
    per_point = 2 * train.steps + test.steps
    context.progress.start("evaluate", per_point * (2 * len(ts) - 2))
    measured = {}
    for name, here in (("curve", path), ("line", straight)):
        measured[name] = Measured(ts, [], [])
        for index, t in enumerate(ts):
            key = f"curve-{index}" if t in (0.0, 1.0) else f"{name}-{index}"
            on_train, on_test = evaluated(context, job, loaded, key, here.at(t), train, test)
            measured[name].train.append(on_train)
            measured[name].test.append(on_test)
    return measured


def drawn(loaded: problems.Loaded, samples: Samples, seed: int) -> tuple[Batches, Batches]:
    """The samples of both splits that points are evaluated on: the same ones for the same seed."""
    count = None if samples == "all" else samples
    train, test = (loaded.batches(split).sample(count, seed, purpose(split)) for split in ("train", "test"))
    return train, test


def purpose(split: str) -> str:
    """What the samples that are reported on are drawn for: with the seed it decides their order."""
    return f"{split} sample"


def evaluated(
    context: Context,
    job: Job,
    loaded: problems.Loaded,
    key: str,
    theta: Tensor,
    train: Batches,
    test: Batches,
) -> tuple[Evaluation, Evaluation]:
    """Both samples at a point with BatchNorm statistics of its own; kept as a part, or found as one."""
    from rashomon_cli.science.problem import fresh_buffers
    from rashomon_cli.science.profile import measure_point

    def look() -> tuple[Evaluation, Evaluation]:
        buffers = fresh_buffers(loaded.problem.module)
        _, on_train, on_test = measure_point(loaded.problem, theta, buffers, train, test, context.progress.tick)
        return on_train, on_test

    return kept(job, key, look, train, test)


def kept(
    job: Job, key: str, look: Callable[[], tuple[Evaluation, Evaluation]], train: Batches, test: Batches
) -> tuple[Evaluation, Evaluation]:
    """Evaluations on both samples, found as a part, or made and kept as one."""
    part = job.part(key)
    if part is None:
        part = _pack(*look())
        job.save(key, part)
    return _unpack(part, "train", train.population), _unpack(part, "test", test.population)


def _pack(train: Evaluation, test: Evaluation) -> Result:
    tensors: dict[str, Array] = {}
    for split, evaluation in (("train", train), ("test", test)):
        for field in ("losses", "cross_entropies", "wrong", "confidences"):
            value = getattr(evaluation, field)
            if value is not None:
                tensors[f"{split}/{field}"] = value.numpy()
    return Result(tensors=tensors)


def _unpack(part: Result, split: str, population: int) -> Evaluation:
    import torch

    from rashomon_cli.science.evaluation import Evaluation

    fields = {}
    for field in ("losses", "cross_entropies", "wrong", "confidences"):
        array = part.tensors.get(f"{split}/{field}")
        fields[field] = None if array is None else torch.from_numpy(np.array(array))
    losses = fields.pop("losses")
    assert losses is not None
    return Evaluation(losses, **fields, population=population)


def summarise(
    points: int, path: Path, measured: dict[str, Measured]
) -> tuple[dict[str, dict[str, Variable]], dict[str, Any]]:
    """Profiles for ``metrics.h5`` and the headline numbers."""
    from rashomon_cli.science import paths
    from rashomon_cli.science.profile import barrier

    straight = paths.line(path.points[0], path.points[-1])
    profiles: dict[str, dict[str, Variable]] = {}
    metrics: dict[str, Any] = {}
    for name, found in measured.items():
        here = path if name == "curve" else straight
        profiles[name] = profile_variables(found.ts, found.train, found.test)
        profiles[name]["arc_length"] = series("t", here.arc_length(found.ts), "1", "arc length from the start")
        losses = np.stack([e.losses.numpy() for e in found.train])
        height = barrier(found.ts, losses, found.train[0].population)
        metrics[f"{name}_barrier_loss"] = height.value
        metrics[f"{name}_barrier_loss_stderr"] = height.stderr
        metrics[f"{name}_barrier_loss_interpolated"] = height.interpolated
        metrics[f"{name}_barrier_at"] = height.at
        wrong = [e.wrong for e in found.train if e.wrong is not None]
        if wrong:
            errors = barrier(found.ts, np.stack([w.numpy() for w in wrong]), found.train[0].population, 100.0)
            metrics[f"{name}_barrier_error"] = errors.value
            metrics[f"{name}_barrier_error_stderr"] = errors.stderr
    test_errors = [e.error for e in measured["curve"].test]
    metrics |= {
        "curve_max_test_error": max(test_errors),
        "curve_min_test_error": min(test_errors),
        "end_test_error_a": test_errors[0],
        "end_test_error_b": test_errors[-1],
        "arc_length": float(path.arc_length([1.0])[0]),
        "end_distance": path.distance(1.0),
        "points": points,
        "train_samples": len(measured["curve"].train[0].losses),
        "test_samples": len(measured["curve"].test[0].losses),
    }
    return profiles, metrics


def profile_variables(ts: list[float], train: list[Evaluation], test: list[Evaluation]) -> dict[str, Variable]:
    """Losses and errors along a path as variables over t."""
    return {"t": series("t", np.array(ts), "1", "position on the path, t")} | split_variables(train, test, "t")


def split_variables(train: list[Evaluation], test: list[Evaluation], dim: str) -> dict[str, Variable]:
    """Losses and errors of several points on both splits, along one dimension."""
    found = {}
    for split, evaluations, words in (("train", train, "training"), ("test", test, "test")):
        losses, loss_errors = [e.loss for e in evaluations], [e.loss_stderr for e in evaluations]
        errors, error_errors = [e.error for e in evaluations], [e.error_stderr for e in evaluations]
        found[f"{split}_loss"] = series(dim, losses, "nat", f"{words} loss", loss_errors)
        found[f"{split}_error"] = series(dim, errors, "percent", f"{words} error", error_errors)
    return found
