"""What the Hessian does to chosen unit vectors at a point: ``‖Hv‖``, ``vᵀHv``, with λ_max beside as the yardstick.

Sources: SCIENCE.md, "Curvature"; random directions give ``E vᵀHv = tr H / P`` and ``E‖Hv‖² = ‖H‖²_F / P``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Result, Variable, scalar
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.estimates import MeanVector
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.curvatures import BatchProducts, Curvature
from rashomon_cli.science.spectra.pairs import extreme


def directional(
    problem: Problem,
    point: Point,
    batches: Batches,
    *,
    random: int = 2,
    eigenvalue_batches: Batches | None = None,
    with_decay: bool = False,
    radius: float = 0.0,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """Hessian-vector products along the point's directions and along random ones.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen at its statistics.
        batches: the examples; their population decides the finite-population correction.
        random: number of random unit vectors; their mean is reported.
        eigenvalue_batches: examples for λ_max; none is computed where None.
        with_decay: add ``wd·I``, the Hessian of the penalty, to H.
        radius: if positive, also products averaged over θ + sv for s in [−radius, radius].
        seed: of the random vectors.
        tick: called after each batch.

    Returns:
        ``hvp_norm_X``, ``curvature_X`` for each direction X (with standard errors), ``hvp_norm_plain_X`` (with the
        noise's share), ``path_gradient_bending`` = ∇L·θ'' and ``path_curvature`` = θ'ᵀHθ' where the point lies on a
        path, so that their sum is d²L/dt² with frozen BatchNorm, ``path_verdict``, which of the two it mostly is, or
        ``noise`` if neither is more than two standard errors from 0, ``hvp_norm_averaged_X`` and
        ``curvature_averaged_X`` for a positive radius, and ``eigenvalue_max``.
    """
    vectors = dict(point.directions) | {f"random{k}": v for k, v in enumerate(random_units(point.theta, random, seed))}
    names = list(vectors)
    stacked = torch.stack(list(vectors.values())) if names else point.theta.new_zeros(0, point.theta.numel())
    means = {name: MeanVector(batches.steps, batches.population) for name in [*names, "gradient"]}
    for batch in Curvature(problem, point, batches, memory=0, tick=tick).by_batch(stacked):
        for name, product in zip(names, batch.products, strict=True):
            means[name].add(product, batch.count)
        means["gradient"].add(batch.gradient, batch.count)
    shift = problem.weight_decay if with_decay else 0.0
    found: dict[str, Variable] = {}
    for name in point.directions:
        norm, norm_error, plain = means[name].plus(vectors[name], shift).norm()
        value, error = means[name].projection(vectors[name])
        found |= _variables(name, f"along the {name} direction", norm, norm_error, plain, value + shift, error)
        if radius > 0:
            average = averaged_product(problem, point, vectors[name], radius, batches, tick).plus(vectors[name], shift)
            norm, norm_error, _ = average.norm()
            value, error = average.projection(vectors[name])
            words = f"along the {name} direction, averaged over ±{radius:g}"
            found[f"hvp_norm_averaged_{name}"] = scalar(norm, "nat", f"‖Hv‖ {words}", norm_error)
            found[f"curvature_averaged_{name}"] = scalar(value, "nat", f"vᵀHv {words}", error)
    if random:
        found |= _random(means, vectors, shift, random)
    if point.velocity is not None and point.acceleration is not None and "tangent" in vectors:
        speed = float(point.velocity.double().norm())
        value, error = means["tangent"].projection(vectors["tangent"])
        bending, bending_error = means["gradient"].projection(point.acceleration)
        terms = {
            "curvature": (value * speed**2, error * speed**2),
            "gradient times bending": (bending, bending_error),
        }
        found["path_curvature"] = scalar(value * speed**2, "nat", "θ'ᵀHθ' of the path", error * speed**2)
        found["path_gradient_bending"] = scalar(bending, "nat", "∇L·θ'' of the path", bending_error)
        found["path_verdict"] = Variable((), np.asarray(verdict(terms)), "1", "what d²L/dt² of the path mostly is")
    if eigenvalue_batches is not None:
        hessian = Curvature(problem, point, eigenvalue_batches, tick=tick)
        top = extreme(hessian, 1, 0, tolerance=1e-2, check=False, seed=seed).top
        largest, residual, spent = float(top.values[0]) + shift, float(top.residuals[0]), np.asarray(hessian.matvecs)
        found["eigenvalue_max"] = scalar(largest, "nat", "largest Hessian eigenvalue, on fewer examples")
        found["eigenvalue_max_residual"] = scalar(residual, "nat", "residual of the largest eigenvalue")
        found["eigenvalue_max_products"] = Variable((), spent, "1", "products spent on the largest eigenvalue")
    return Result(found)


def verdict(terms: Mapping[str, tuple[float, float]]) -> str:
    """Which of some terms a sum mostly is.

    Args:
        terms: value and standard error of each.

    Returns:
        The name of the largest of those more than two standard errors from 0; ``noise`` where there is none.
    """
    told = {name: abs(value) for name, (value, error) in terms.items() if abs(value) > 2 * error}
    return max(told, key=told.__getitem__) if told else "noise"


def gradient(problem: Problem, point: Point, batches: Batches, *, tick: Tick = silent) -> Result:
    """Norms of ∇L and of ∇(L + ½wd‖θ‖²), the noise's share removed, with standard errors.

    With weight decay an optimum has ``∇L ≈ −wd·θ``, so the second is the one that is near 0 there.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen at its statistics.
        batches: the examples.
        tick: called after each batch.

    Returns:
        ``gradient_norm``, ``gradient_norm_plain`` and ``gradient_norm_with_penalty``.
    """
    mean = MeanVector(batches.steps, batches.population)
    for batch in _gradients(problem, point, batches, tick):
        mean.add(batch.gradient, batch.count)
    norm, error, plain = mean.norm()
    penalised, penalised_error, _ = mean.plus(point.theta, problem.weight_decay).norm()
    return Result(
        {
            "gradient_norm": scalar(norm, "nat", "norm of the loss gradient", error),
            "gradient_norm_plain": scalar(plain, "nat", "norm of the sampled loss gradient, noise included"),
            "gradient_norm_with_penalty": scalar(
                penalised, "nat", "norm of the gradient of loss and L2 penalty", penalised_error
            ),
        }
    )


def averaged_product(
    problem: Problem, point: Point, vector: Tensor, radius: float, batches: Batches, tick: Tick = silent
) -> MeanVector:
    """The uniform average of ``H(θ + sv) v`` over s in [−R, R], exactly ``(∇L(θ + Rv) − ∇L(θ − Rv)) / 2R``.

    Args:
        problem: the model and loss.
        point: θ and its buffers.
        vector: unit vector v (P,).
        radius: R > 0.
        batches: the examples.
        tick: called after each batch of each end.

    Returns:
        The averaged product (P,) with what its standard error needs.
    """
    ends = [
        _gradients(problem, Point(point.theta + sign * radius * vector, point.buffers), batches, tick)
        for sign in (1.0, -1.0)
    ]
    mean = MeanVector(batches.steps, batches.population)
    for ahead, behind in zip(*ends, strict=True):
        mean.add((ahead.gradient - behind.gradient) / (2 * radius), ahead.count)
    return mean


def _gradients(problem: Problem, point: Point, batches: Batches, tick: Tick) -> Iterator[BatchProducts]:
    """The gradient of each batch, no products."""
    return Curvature(problem, point, batches, memory=0, tick=tick).by_batch(
        point.theta.new_zeros(0, point.theta.numel())
    )


def random_units(like: Tensor, count: int, seed: int) -> Tensor:
    """Unit vectors (count, P), uniform on the sphere, the same for the same seed at every point of a path."""
    chooser = torch.Generator().manual_seed(derive(seed, "random directions"))
    drawn = torch.randn(count, like.numel(), generator=chooser, dtype=torch.float64)
    units: Tensor = (drawn / drawn.norm(dim=1, keepdim=True)).to(like)
    return units


def _random(means: dict[str, MeanVector], vectors: dict[str, Tensor], shift: float, count: int) -> dict[str, Variable]:
    """Means over the random directions; their standard error has the spread over directions and that over images."""
    names = [f"random{k}" for k in range(count)]
    norms = [means[n].plus(vectors[n], shift).norm() for n in names]
    values = [means[n].projection(vectors[n]) for n in names]

    def joined(each: list[float], errors: list[float]) -> tuple[float, float]:
        sampling = float(np.mean(errors))
        between = float(np.std(each, ddof=1)) / math.sqrt(count) if count > 1 else math.nan
        return float(np.mean(each)), math.hypot(sampling, between)

    norm, norm_error = joined([n[0] for n in norms], [n[1] for n in norms])
    value, error = joined([v[0] + shift for v in values], [v[1] for v in values])
    plain = float(np.mean([n[2] for n in norms]))
    found = _variables("random", "along random directions, their mean", norm, norm_error, plain, value, error)
    found["random_directions"] = Variable((), np.asarray(count), "1", "number of random directions")
    return found


def _variables(
    name: str, words: str, norm: float, norm_error: float, plain: float, value: float, error: float
) -> dict[str, Variable]:
    return {
        f"hvp_norm_{name}": scalar(norm, "nat", f"‖Hv‖ {words}", norm_error),
        f"hvp_norm_plain_{name}": scalar(plain, "nat", f"‖Hv‖ {words}, noise included"),
        f"curvature_{name}": scalar(value, "nat", f"vᵀHv {words}", error),
    }
