"""Paths that are put together, not trained: a polyline whose segments have names, and how high each of them rises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.results import Metric, Variable, series
from rashomon_cli.operations import polylines, problems, profiles
from rashomon_cli.operations.connecting import spokes
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CHECKED = 256
"""Examples on which outputs are compared in float64."""


@dataclass(frozen=True)
class Built:
    """A path that was put together.

    Attributes:
        points: its control points (K + 1, P).
        segments: names of what happens between each two (K).
        metrics: what else is known of it.
        groups: variables by group, for ``metrics.h5``.
    """

    points: Tensor
    segments: Sequence[str]
    metrics: Mapping[str, Metric]
    groups: Mapping[str, Mapping[str, Variable]]


def grid(points: int, segments: int) -> int:
    """The least number of evenly spaced positions, no fewer than asked for, with one at and between control points."""
    return segments * max(2, -(-(points - 1) // segments)) + 1


def steps(points: int, segments: int, samples: Samples, record: Mapping[str, Any]) -> list[Step]:
    """What measuring takes.

    Args:
        points: positions asked for.
        segments: of the path.
        samples: examples of each split at each position.
        record: of the data: ``train_count`` and ``test_count``.

    Returns:
        BatchNorm refreshed and both splits evaluated along the path and along the straight line between its ends.
    """
    train, test = (taken(samples, int(record[f"{split}_count"])) for split in ("train", "test"))
    positions = 2 * grid(points, segments) - 2
    return [
        Step(f"BatchNorm refreshed at {positions} positions", positions * train),
        Step(f"{positions} positions of path and line evaluated", positions * (train + test)),
    ]


def compared(record: Mapping[str, Any], networks: int) -> int:
    """Forward passes of comparing outputs in float64, BatchNorm refreshed before, at so many points."""
    return 2 * networks * min(CHECKED, int(record["train_count"]))


def publish(
    context: Context,
    job: Job,
    loaded: problems.Loaded,
    built: Built,
    points: int,
    samples: Samples,
    seed: int,
    device: torch.device,
    arithmetic: str | None = None,
) -> Run:
    """Evaluate a path and publish it with all its control points.

    Args:
        context: told of every step.
        job: keeps the parts.
        loaded: the problem of the path's points.
        built: the path.
        points: positions asked for, both ends included.
        samples: examples of each split.
        seed: of the samples.
        device: that computed.
        arithmetic: of training steps, where there were any.

    Returns:
        The run.
    """
    from rashomon_cli.science.paths import Path

    path = Path("polyline", built.points)
    count = grid(points, len(built.segments))
    measured = profiles.measure(context, job, loaded, path, count, samples, seed)
    along, metrics = profiles.summarise(count, path, measured)
    table, heights = _heights(built.segments, measured["curve"])
    return job.publish(
        "path",
        metrics=metrics
        | heights
        | {
            "segments": ", ".join(built.segments),
            "bends": len(built.points) - 2,
            "parameters": loaded.problem.layout.total,
            "weight_decay": float(job.request.config["weight_decay"]),
        }
        | dict(built.metrics),
        measurements=problems.in_units(job.request.config["loss"], {**built.groups, **along, "segments": table}),
        tensor_files=polylines.files(loaded, built.points),
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": seed},
        **context.details(device, arithmetic),
    )


def _heights(segments: Sequence[str], along: profiles.Measured) -> tuple[dict[str, Variable], dict[str, Metric]]:
    """The barrier of each segment: how far it rises above the higher of its own two ends."""
    each = (len(along.ts) - 1) // len(segments)
    parts = [along.train[k * each : (k + 1) * each + 1] for k in range(len(segments))]
    found = [spokes.height(part) for part in parts]
    names = "barrier of the segment"
    table = {
        "segment": series("segment", list(segments), "1", "segment"),
        "begin": series("segment", np.array([along.ts[k * each] for k in range(len(segments))]), "1", "t at its start"),
        "end": series(
            "segment", np.array([along.ts[(k + 1) * each] for k in range(len(segments))]), "1", "t at its end"
        ),
        "barrier_loss": series("segment", [h.loss.value for h in found], "nat", names, [h.loss.stderr for h in found]),
        "level": series(
            "segment",
            [h.level for h in found],
            "nat",
            "highest training loss on the segment",
            [h.level_stderr for h in found],
        ),
        "end_loss": series(
            "segment",
            [part[-1].loss for part in parts],
            "nat",
            "training loss at its end",
            [part[-1].loss_stderr for part in parts],
        ),
    }
    metrics: dict[str, Metric] = {
        "segment_barrier_loss": [h.loss.value for h in found],
        "segment_barrier_loss_stderr": [h.loss.stderr for h in found],
        "segment_end_loss": [part[-1].loss for part in parts],
    }
    errors = [h.error for h in found if h.error is not None]
    if errors:
        values, spread = [e.value for e in errors], [e.stderr for e in errors]
        table["barrier_error"] = series("segment", values, "percent", names, spread)
        metrics |= {"segment_barrier_error": list(values), "segment_barrier_error_stderr": list(spread)}
    return table, metrics
