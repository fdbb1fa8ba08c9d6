"""Which part of a direction the outputs on some examples do not show, and how much predictions change along it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.ensembles import averages
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, cross_entropy, silent
from rashomon_cli.science.spectra.filters import bounds
from rashomon_cli.science.spectra.lanczos import Krylov, basis_bytes, resolution
from rashomon_cli.science.spectra.matrices import Matrix
from rashomon_cli.science.spectra.output_factors import factors
from rashomon_cli.science.spectra.quadrature import bracket, steps_taken

STEPS = 300
_LOOK = 20  # steps between two looks at how much is proved
_PROVED = 0.02
_BYTES = 2**30
_CROSS_ENTROPY = 0.5


def centred(problem: Problem, outputs: Tensor) -> Tensor:
    """Outputs (n, …) less what predictions do not depend on: of logits (n, C) their mean over classes."""
    if averages(problem) == "outputs" or outputs.shape[-1] == 1:
        return outputs
    return outputs - outputs.mean(-1, keepdim=True)


def responding(problem: Problem) -> Problem:
    """A problem whose Gauss-Newton matrix is that of the responses, ``R = (1/n) Σ JᵢᵀJᵢ``.

    Jᵢ is the Jacobian of an example's outputs, :func:`centred`; ``vᵀRv`` is the mean square of how much they change per
    unit step along v.
    """

    def half_square(outputs: Tensor, _: Tensor) -> Tensor:
        return 0.5 * centred(problem, outputs).flatten(1).square().sum(1)

    return replace(problem, loss=half_square)


def visible_change(problem: Problem, point: Point, batches: Batches, tau: float, tick: Tick = silent) -> float:
    """The change of outputs per unit step, as a root mean square, that a curvature τ needs at least: ``√(τ/h)``.

    h is the largest eigenvalue that the loss's Hessian in the outputs can have: ½ for cross-entropy, 2/C for the mean
    squared error of C outputs, for other losses the largest on the examples. A direction that changes outputs by less
    is flat whatever the loss; one that changes them by more is flat because the loss does not mind.

    Args:
        problem: the model and loss.
        point: where.
        batches: the examples.
        tau: curvature that counts as 0.
        tick: called after each batch.

    Returns:
        The change.

    Raises:
        Refused: if the loss is not convex in the outputs, or linear in them.
    """
    if problem.loss is cross_entropy:
        return math.sqrt(tau / _CROSS_ENTROPY)
    problem.module.eval()
    largest = 0.0
    for x, y in batches:
        with torch.no_grad():
            outputs = problem.outputs(point.theta, point.buffers, x)
        try:
            columns = factors(problem.loss, outputs, y).columns
        except Refused as error:
            raise Refused(str(error), "say which change of outputs counts: --flat-visible 0.1") from None
        largest = max(largest, float(torch.linalg.matrix_norm(columns, ord=2).max()) ** 2)
        tick(None)
    if largest == 0.0:
        raise Refused("the loss has no curvature in the outputs", "say which change counts: --flat-visible 0.1")
    return math.sqrt(tau / largest)


@dataclass(frozen=True)
class Blind:
    """The parts of vectors that outputs do not show.

    Attributes:
        parts: in the span of eigenvectors of R with λ ≤ tolerance² (k, P), float64.
        low: their squared length at least (k,): what the Lanczos steps prove.
        high: at most (k,).
        tolerance: the one that was used: that asked for, or what rounding allows where that is larger.
    """

    parts: Tensor
    low: Array
    high: Array
    tolerance: float


def blind(responses: Matrix, vectors: Tensor, tolerance: float, *, steps: int = STEPS, seed: int = 0) -> Blind:
    """Split vectors by how much outputs change along their parts.

    Lanczos from a vector v gives the squared lengths of v's parts in the eigenspaces of R below a bound (the spectral
    measure of v, by Gauss quadrature, with the bracket of Chebyshev, Markov and Stieltjes) and, from Ritz vectors, the
    part itself. J is never held.

    Args:
        responses: R, the Gauss-Newton matrix of :func:`responding`.
        vectors: (k, P), float64; where a row is 0, so is its part.
        tolerance: root mean square change of outputs per unit step up to which a part counts as unseen.
        steps: of Lanczos for each vector, at most; fewer where squared lengths are proved to 2 % of the vector's.
        seed: of the vector from which the largest eigenvalue of R is estimated.

    Returns:
        The parts.
    """
    chooser = torch.Generator().manual_seed(derive(seed, "responses"))
    start = torch.randn(1, responses.size, generator=chooser, dtype=torch.float64).to(vectors.device)
    largest = max(bounds(responses, start, min(12, responses.size))[1], 0.0)
    bound = max(tolerance**2, resolution(responses.like.dtype) * largest)
    parts = torch.zeros_like(vectors)
    low, high = np.zeros(len(vectors)), np.zeros(len(vectors))
    there = [row for row, vector in enumerate(vectors) if bool(vector.any())]
    together = max(1, _BYTES // basis_bytes(responses.size, steps))
    for first in range(0, len(there), together):
        rows = there[first : first + together]
        krylov = _krylov(responses, vectors[rows], bound, steps, largest)
        squares = vectors[rows].square().sum(1).cpu().numpy()
        for place, (row, square) in enumerate(zip(rows, squares)):
            unseen = _weights(krylov.alpha[place], krylov.beta[place], bound)
            weights = torch.from_numpy(unseen).to(vectors)
            parts[row] = math.sqrt(square) * (weights @ krylov.basis[place, : len(weights)])
            low[row], high[row] = square * _proved(krylov, place, bound)
    return Blind(parts, low, high, math.sqrt(bound))


def _krylov(matrix: Matrix, start: Tensor, bound: float, steps: int, largest: float) -> Krylov:
    """Lanczos from each vector (k, P), until it is proved what they have below the bound, or for so many steps."""
    krylov = Krylov.begin(start, steps)
    while krylov.going:
        krylov.step(matrix, largest)
        if krylov.taken % _LOOK == 0:
            widths = [np.ptp(_proved(krylov, place, bound)) for place in range(len(start))]
            if max(widths) <= _PROVED:
                break
    return krylov


def _proved(krylov: Krylov, place: int, bound: float) -> Array:
    """The share of a vector that lies below a bound, at least and at most (2,)."""
    low, high = bracket(krylov.alpha[place], krylov.beta[place], np.array([bound]))
    return np.array([float(low[0]), float(high[0])])


def _weights(alpha: Array, beta: Array, bound: float) -> Array:
    """In the basis of Lanczos, the first basis vector's part in Ritz vectors below a bound (m,) for m steps taken."""
    taken = steps_taken(alpha)
    nodes, columns = eigh_tridiagonal(alpha[:taken], beta[: taken - 1])
    below = columns[:, nodes <= bound]
    found: Array = below @ below[0]
    return found


@torch.no_grad()
def prediction_changes(
    problem: Problem, point: Point, units: Tensor, batches: Batches, step: float, tick: Tick = silent
) -> Tensor:
    """How much predictions change per unit step: ``‖p(θ ± sv) − p(θ)‖₂ / s`` of each example, the mean of both signs.

    Args:
        problem: the model; p is softmax of the logits, or the outputs where these are the predictions.
        point: θ and its buffers.
        units: unit vectors v (k, P).
        batches: the examples.
        step: s, small but finite: the function itself is asked, not its derivative.
        tick: called after each batch.

    Returns:
        (k, n), float64, on the CPU.
    """
    problem.module.eval()
    found = []
    for x, _ in batches:

        def predicted(theta: Tensor, x: Tensor = x) -> Tensor:
            outputs = problem.outputs(theta, point.buffers, x).double()
            return outputs.flatten(1) if averages(problem) == "outputs" else outputs.softmax(-1).flatten(1)

        here = predicted(point.theta)
        changes = [
            sum((predicted(point.theta + sign * step * unit) - here).norm(dim=1) for sign in (1, -1)) / (2 * step)
            for unit in units
        ]
        found.append(torch.stack(changes).cpu() if changes else torch.zeros(0, len(x)))
        tick(None)
    return torch.cat(found, 1)
