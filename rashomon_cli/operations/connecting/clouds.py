"""Random points of a simplicial complex: evaluated, and what they say of its loss and of its volume."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.results import Array, Variable, scalar, series
from rashomon_cli.core.seeds import derive
from rashomon_cli.operations import problems
from rashomon_cli.operations.connecting import spokes
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.profiles import drawn, evaluated, split_variables
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig
    from rashomon_cli.operations.profiles import Measured
    from rashomon_cli.science.evaluation import Evaluation


@dataclass(frozen=True)
class Cloud:
    """Random points of the complex, the same number in each simplex.

    Attributes:
        simplices: number of each point's simplex (D,).
        weights: barycentric coordinates: its anchor first, then the trained vertices (D, d + 1).
        train: evaluations on the training sample.
        test: evaluations on the test sample.
        log_volumes: of the simplices (A,).
    """

    simplices: Array
    weights: Array
    train: list[Evaluation]
    test: list[Evaluation]
    log_volumes: Array


def draw(
    context: Context, config: ConnectConfig, job: Job, loaded: problems.Loaded, thetas: Tensor, vertices: Tensor
) -> Cloud:
    """Evaluate random points of each simplex; every one is kept as a part."""
    import torch

    from rashomon_cli.science.simplices import barycentric, log_volume

    train, test = drawn(loaded, config.samples, config.seed)
    count = len(thetas) * config.draws
    context.progress.start("evaluate", (2 * train.steps + test.steps) * count)
    chooser = torch.Generator().manual_seed(derive(config.seed, "points of the complex"))
    corners = [torch.cat([theta[None], vertices]) for theta in thetas]
    weights = torch.stack([barycentric(len(vertices) + 1, chooser) for _ in range(count)])
    both = [
        evaluated(context, job, loaded, f"draw-{k}", w.to(thetas) @ corners[k // config.draws], train, test)
        for k, w in enumerate(weights)
    ]
    return Cloud(
        np.arange(count) // config.draws,
        weights.numpy(),
        [one for one, _ in both],
        [two for _, two in both],
        np.array([log_volume(each) for each in corners]),
    )


def summary(
    config: ConnectConfig, labels: list[str], lines: dict[spokes.Line, Measured], cloud: Cloud
) -> tuple[dict[str, dict[str, Variable]], dict[str, Any]]:
    """Variables by group, and the headline numbers."""
    from rashomon_cli.science import volumes

    outward = list(lines)
    ends = [lines[line].train[-1] for line in outward]
    higher = max(end.loss for end in ends)
    losses = np.stack([e.losses.numpy() for e in cloud.train])
    parts = volumes.shares(cloud.log_volumes)
    mean = volumes.mean(losses, cloud.simplices, parts, cloud.train[0].population)
    share = volumes.share(losses.mean(1) <= higher + config.epsilon, cloud.simplices, parts)
    top = max(cloud.train, key=lambda e: e.loss)
    whole = float(np.logaddexp.reduce(cloud.log_volumes))
    within = whole + math.log(share.value) if share.value else -math.inf
    pairs = list(itertools.combinations(outward, 2))
    via = [spokes.height(spokes.through(lines[one], lines[other])) for one, other in pairs]
    groups = spokes.profiles(lines, outward)
    groups["complex"] = split_variables(cloud.train, cloud.test, "point") | {
        "simplex": series("point", cloud.simplices + 1, "1", "number of the simplex: that of its anchor"),
        "weight": Variable(("point", "corner"), cloud.weights, "1", "barycentric coordinate: anchor, then vertices"),
        "log_volume": series("anchor", cloud.log_volumes, "1", "logarithm of the simplex's volume"),
        "share": series("anchor", parts, "1", "simplex's part of the volume"),
        "anchor": series("anchor", labels, "1", "anchor"),
        "higher_anchor": scalar(higher, "nat", "training loss of the higher anchor"),
        "epsilon": scalar(config.epsilon, "nat", "ε"),
    }
    groups["anchors"] = spokes.names(labels) | spokes.matrices(
        "via", "the path through the centre of the trained vertices", len(labels), via
    )
    return groups, {
        "share_within": share.value,
        "share_within_stderr": share.stderr,
        "log_volume": whole,
        "log_volume_within": within,
        "log_volume_within_stderr": share.stderr / share.value if share.value else math.nan,
        "mean_loss": mean.value,
        "mean_loss_stderr": mean.stderr,
        "max_loss": top.loss,
        "max_loss_stderr": top.loss_stderr,
        "anchor": labels,
        "anchor_loss": [end.loss for end in ends],
        "anchor_loss_stderr": [end.loss_stderr for end in ends],
        "pair": spokes.pairs(len(labels)),
        **spokes.metrics("via_", via),
        "draws": len(cloud.train),
        "train_samples": len(cloud.train[0].losses),
        "test_samples": len(cloud.test[0].losses),
    }
