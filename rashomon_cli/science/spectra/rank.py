"""How much of a curvature is flat by construction: few examples constrain few directions."""

from __future__ import annotations

import torch

from rashomon_cli.core.results import Variable, scalar
from rashomon_cli.science.problem import Batches, Point, Problem, cross_entropy


def rank_ratio(
    problem: Problem, point: Point, batches: Batches, size: int | None = None, kind: str = "hessian"
) -> Variable:
    """n(C − 1)/P, the largest rank of a Gauss-Newton matrix over its size.

    Where it is below 1, at least the rest of all directions is flat whatever the network has learned.

    Args:
        problem: the model and loss.
        point: where.
        batches: the n examples.
        size: P, the number of parameters that are chosen; all where None.
        kind: of the matrix; the empirical Fisher matrix has rank 1 for each example.

    Returns:
        The ratio; of another loss than softmax cross-entropy nC/P, since that may see each of the C outputs.
    """
    problem.module.eval()
    with torch.no_grad():
        x, _ = next(iter(batches))
        outputs = problem.outputs(point.theta, dict(point.buffers), x[:1])
    each = 1 if kind == "fisher" else outputs[0].numel() - (problem.loss is cross_entropy and outputs.ndim == 2)
    ratio = batches.count * each / (size or problem.layout.total)
    return scalar(ratio, "1", "largest rank that the examples allow over the number of parameters, n(C − 1)/P")
