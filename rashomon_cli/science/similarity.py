"""How alike models predict: cosines of every pair's predictions on the same inputs, and how often they disagree.

The cosine of softmax vectors, averaged over inputs, is the measure of Post S. Softmax vectors are not negative, so it
has a high floor: independent uniform vectors score 0.75. The centred and the shuffled ones show how much is agreement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from torch import Tensor, nn

from rashomon_cli.core.results import Array, Metric, Variable
from rashomon_cli.core.seeds import derive

CHUNK = 200
TINY = 1e-12


def similarity(logits: Sequence[Tensor | Array], seed: int = 0) -> dict[str, Variable]:
    """Compare every pair of models by their stored predictions; inputs go in chunks, so memory stays small.

    - ``cosine``: mean over inputs of the cosine of the two softmax vectors.
    - ``cosine_logits``: the same of the logits, as they are.
    - ``cosine_centred``: the same of softmax vectors less their own model's mean softmax vector over the inputs: do two
      models deviate alike from what each predicts on average?
    - ``cosine_flattened``: one cosine of the n·C probabilities as one vector; confident inputs weigh more.
    - ``cosine_floor``: as ``cosine``, with inputs shuffled between the two models along one random cycle through all of
      them, so that none keeps its place; forth and back, which makes it symmetric.
    - ``disagreement``: share of inputs on which the likeliest classes differ.

    A vector shorter than 1e-12 counts as zero, and its cosine with any vector, itself too, as 0. Standard errors take
    the inputs as draws from an unlimited population, s/√n, so they are not 0 on a whole test split.

    Args:
        logits: of each of M models on the same n inputs in the same order, each (n, C).
        seed: of the cycle.

    Returns:
        Symmetric matrices (M, M), float64, with the dimensions ``model`` and ``other``.

    Raises:
        ValueError: if shapes differ, values are not finite, or there are fewer than two inputs.
    """
    outputs = _stacked(logits)
    models, count, _ = outputs.shape
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derive(seed, "shuffled floor")))
    partner = torch.empty_like(order)
    partner[order] = order.roll(1)
    chunks = [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]
    mean = torch.stack([_softmax(outputs[:, c]).sum(1) for c in chunks]).sum(0)[:, None] / count
    names = ("gap", "square", "logits", "centred", "flat", "same", "floor")
    sums = {name: torch.zeros(models, models, dtype=torch.float64) for name in names}
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    for chunk in chunks:
        p = _softmax(outputs[:, chunk])
        unit = _unit(p)
        each = unit.transpose(0, 1).contiguous()
        # 1 − cosine rather than the cosine: its square keeps its digits where all cosines are close to 1.
        gap = torch.baddbmm(one, each, each.mT, alpha=-1)
        sums["gap"] += gap.sum(0)
        sums["square"] += gap.square().sum(0)
        sums["logits"] += _gram(_unit(outputs[:, chunk].double()))
        sums["centred"] += _gram(_unit(p - mean))
        sums["flat"] += _gram(p)
        sums["same"] += _gram(nn.functional.one_hot(outputs[:, chunk].argmax(-1), outputs.shape[-1]).double())
        sums["floor"] += _gram(unit, _unit(_softmax(outputs[:, partner[chunk]])))
    gap = sums["gap"] / count
    variance = (sums["square"] / count - gap.square()).clamp_min(0) * count / (count - 1)
    norms = sums["flat"].diagonal().sqrt()
    differ = 1 - sums["same"] / count
    error = (variance / count).sqrt()
    differ_error = (differ * (1 - differ) / (count - 1)).sqrt()
    return {
        "cosine": _matrix(1 - gap, "cosine of softmax vectors, mean over images", error),
        "cosine_logits": _matrix(sums["logits"] / count, "cosine of logits, mean over images"),
        "cosine_centred": _matrix(sums["centred"] / count, "cosine of centred softmax vectors, mean over images"),
        "cosine_flattened": _matrix(sums["flat"] / torch.outer(norms, norms), "cosine of all softmax probabilities"),
        "cosine_floor": _matrix(sums["floor"] / count, "cosine of softmax vectors on shuffled images"),
        "disagreement": _matrix(differ, "share of images with different classes", differ_error),
    }


def headline(found: Mapping[str, Variable]) -> dict[str, Metric]:
    """Counts of models and pairs, and the extent of the cosine and the median of its floor over the pairs."""
    cosine, floor = pairs(found["cosine"].values), pairs(found["cosine_floor"].values)
    return {
        "models": len(found["cosine"].values),
        "pairs": len(cosine),
        "cosine_min": float(cosine.min()),
        "cosine_median": float(np.median(cosine)),
        "cosine_max": float(cosine.max()),
        "cosine_floor": float(np.median(floor)),
    }


def pairs(matrix: Array) -> Array:
    """The values above the diagonal of a matrix (M, M): one a pair, M(M − 1)/2 of them."""
    found: Array = matrix[np.triu_indices(len(matrix), 1)]
    return found


def cosine_gaps(a: Tensor, b: Tensor) -> Tensor:
    """1 − cosine of two vectors for each input, as half the squared distance of unit vectors: exactly 0 for equal ones.

    Args:
        a: (n, C).
        b: (n, C).

    Returns:
        (n,), float64, from 0 to 2. Vectors shorter than 1e-12 count as zero: 0 from each other, 1 from any other.
    """
    one, two = _unit(a.double()), _unit(b.double())
    gaps = (one - two).square().sum(-1) / 2
    return torch.where(one.any(-1) == two.any(-1), gaps, 1.0)


def cluster_order(cosine: Array) -> list[int]:
    """An order that puts like models side by side: average linkage on 1 − cosine, leaves ordered optimally.

    The ordering of leaves is that of Bar-Joseph et al. 2001 (doi 10.1093/bioinformatics/17.suppl_1.S22).

    Args:
        cosine: symmetric, (M, M), M ≥ 2.

    Returns:
        Each index once.
    """
    distances = squareform(np.clip(1 - cosine, 0, None), checks=False)
    return [int(i) for i in hierarchy.leaves_list(hierarchy.linkage(distances, "average", optimal_ordering=True))]


def _stacked(logits: Sequence[Tensor | Array]) -> Tensor:
    found = [torch.as_tensor(one) for one in logits]
    shapes = {tuple(one.shape) for one in found}
    if len(shapes) != 1 or found[0].ndim != 2:
        raise ValueError(f"logits must be of one shape (n, C), not {sorted(shapes)}")
    if len(found[0]) < 2:
        raise ValueError(f"the shuffled floor needs at least two inputs, not {len(found[0])}")
    bad = [number for number, one in enumerate(found) if not one.isfinite().all()]
    if bad:
        raise ValueError(f"logits of model {bad[0]} are not finite")
    return torch.stack(found)


def _softmax(logits: Tensor) -> Tensor:
    return logits.double().softmax(-1)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors along the last axis at length 1; those shorter than 1e-12 become 0."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.where(lengths > TINY, vectors / lengths.clamp_min(TINY), 0.0)


def _gram(vectors: Tensor, others: Tensor | None = None) -> Tensor:
    """Sums over inputs of the products of vectors (M, B, C): (M, M)."""
    return vectors.flatten(1) @ (vectors if others is None else others).flatten(1).mT


def _matrix(values: Tensor, long_name: str, error: Tensor | None = None) -> Variable:
    """Symmetric to the last bit, and within [−1, 1], which rounding may leave."""
    values = ((values + values.mT) / 2).clamp(-1, 1)
    stderr = None if error is None else ((error + error.mT) / 2).numpy()
    return Variable(("model", "other"), values.numpy(), "1", long_name, stderr)
