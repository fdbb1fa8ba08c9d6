"""Eigenvalues and spectral density by PyHessian's own algorithms, made safe: see ``pyhessian_backend``.

What is not taken as it comes:

- its power iteration stops at a number of steps without saying so, and returns the eigenvalue of the step before: each
  vector gets a Rayleigh quotient and a residual by one product more;
- its trace stops when two means are alike, at once where they are negative: what it computes is Hutchinson's estimator,
  for which :func:`~.spectra.traces.hutchinson` takes a fixed number of its products;
- where no eigenvalue but 0 is left, its deflation returns rounding, which is an earlier vector again: that is dropped;
- its density ends in ``torch.eig``, which PyTorch no longer has: the Lanczos process is put together from its pieces,
  each vector made orthogonal twice and given length 1 (its own is 1e-6 short of it, and far more near an invariant
  subspace), and its matrix diagonalised by SciPy.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array, Result, Variable, series
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.pyhessian_backend import Pieces, PyHessian, load
from rashomon_cli.science.spectra.deflation import Border, Complement
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.lanczos import resolution
from rashomon_cli.science.spectra.pairs import TOLERANCE, converged
from rashomon_cli.science.spectra.slq import probe_vectors

_LEFT = 0.5


def eigenvalues(
    matrix: PyHessian,
    count: int,
    *,
    iterations: int = 100,
    tolerance: float = 1e-3,
    accepted: float = TOLERANCE,
    seed: int = 0,
) -> Result:
    """The eigenvalues of the largest |λ| by power iteration with deflation.

    A negative one is found only where it is among them: of the bottom of the spectrum they say nothing else.

    Args:
        matrix: the Hessian.
        count: how many; all where there are no more.
        iterations: products for each, at most.
        tolerance: relative change of an eigenvalue from one product to the next at which it is taken.
        accepted: residual up to which one counts as converged, relative to |λ|, rounding aside.
        seed: of the starting vectors.

    Returns:
        ``eigenvalues_top`` of either sign, decreasing, of length ``count`` with NaN at the end; ``residuals_top``,
        ``‖Hv − λv‖``; ``converged_top``, how many converged; ``matvecs``.
    """
    before, count = matrix.matvecs, min(count, matrix.size)
    devices = [matrix.like.device] if matrix.like.is_cuda else []
    with torch.random.fork_rng(devices), matrix.working():
        torch.manual_seed(derive(seed, "power iteration"))
        _, found = matrix.engine.eigenvalues(maxIter=iterations, tol=tolerance, top_n=count)
    units = _distinct(torch.stack([matrix.joined(pieces) for pieces in found]).double())
    images = matrix(units.to(matrix.like)).double()
    values = (units * images).sum(1)
    residuals = (images - values[:, None] * units).norm(dim=1).cpu().numpy()
    each = values.cpu().numpy()
    spent = np.asarray(matrix.matvecs - before)
    rows = np.argsort(-each)
    told = converged(matrix, each, residuals, accepted, np.abs(each).max(initial=0.0))
    words = "eigenvalues of largest |λ|, of either sign"
    return Result(
        {
            "matvecs": Variable((), spent, "1", "products of the matrix with one vector"),
            "eigenvalues_top": series("top", _padded(each[rows], count), "nat", words),
            "residuals_top": series("top", _padded(residuals[rows], count), "nat", f"residuals of the {words}"),
            "converged_top": Variable((), np.asarray(int(told.sum())), "1", f"how many of the {words} converged"),
        }
    )


def density(matrix: PyHessian, probes: int = 8, steps: int = 80, *, seed: int = 0) -> Density:
    """The spectral density, raw, from the same probes as our own.

    Args:
        matrix: the Hessian.
        probes: number of probes.
        steps: Lanczos steps of each, at most.
        seed: of the probes.

    Returns:
        What the probes saw.

    Raises:
        ValueError: without a probe or a step.
    """
    if probes < 1 or steps < 1:
        raise ValueError(f"{probes} probes of {steps} steps: at least 1 of each")
    starts = probe_vectors(Complement(matrix), range(probes), seed).to(matrix.like)
    each = [_lanczos(matrix, start, min(steps, matrix.size)) for start in starts]
    alpha, beta = (np.stack([_padded(pair[k], steps) for pair in each]) for k in (0, 1))
    none = np.zeros((0, 0))
    return Density(alpha, beta, matrix.size, Border(none, none), resolution(matrix.like.dtype), seed)


def _lanczos(matrix: PyHessian, start: Tensor, steps: int) -> tuple[Array, Array]:
    """Diagonal and off-diagonal of a Lanczos process; the last entry of the latter is 0 where it is exact."""
    tools = load("pyhessian.utils")
    basis = [matrix.pieces(start / start.norm())]
    alpha: list[float] = []
    beta: list[float] = []
    for step in range(steps):
        image = matrix.joined(matrix.product(basis[-1])) + matrix.shift * matrix.joined(basis[-1])
        rest = matrix.pieces(image)
        alpha.append(float(tools.group_product(rest, basis[-1])))
        rest = tools.group_add(rest, basis[-1], alpha=-alpha[-1])
        if step:
            rest = tools.group_add(rest, basis[-2], alpha=-beta[-1])
        length = float(tools.group_product(rest, rest)) ** 0.5
        scale = max(map(abs, [*alpha, *beta]))
        if length <= resolution(matrix.like.dtype) * scale or step + 1 == matrix.size:
            beta.append(0.0)
            break
        beta.append(length)
        basis.append(_unit(tools.orthnormal(tools.orthnormal(rest, basis), basis)))
    return np.asarray(alpha), np.asarray(beta)


def _distinct(vectors: Tensor) -> Tensor:
    """Vectors (k, n) with length 1, each less its part in those before it; without those of which little is left."""
    lengths = vectors.norm(dim=1, keepdim=True)
    basis, parts = torch.linalg.qr((vectors / lengths)[lengths[:, 0] > 0].T)
    distinct: Tensor = basis.T[parts.diagonal().abs() > _LEFT]
    return distinct


def _unit(pieces: Pieces) -> Pieces:
    length = torch.stack([piece.double().square().sum() for piece in pieces]).sum().sqrt()
    return [(piece / length).to(piece) for piece in pieces]


def _padded(values: Array, count: int) -> Array:
    return np.pad(values, (0, count - len(values)), constant_values=np.nan)
