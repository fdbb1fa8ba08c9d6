"""Stochastic Lanczos quadrature: the spectral density of a symmetric matrix from a few random probes.

A probe z uniform on the sphere has ``E zᵀf(H)z = tr f(H)/n``, so the measure that Lanczos finds from it is on average
the density of the spectrum (Ubaru, Chen and Saad 2017, Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature;
for networks Ghorbani, Krishnan and Xiao 2019). Directions that are known are taken off first (``deflation``); the
variance then is only that of the rest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.lanczos import basis_bytes, lanczos, resolution
from rashomon_cli.science.spectra.matrices import Matrix

MEMORY = 2**31
"""Bytes for the Lanczos bases of the probes that run side by side."""


def probe_vectors(space: Complement, numbers: range, seed: int) -> Tensor:
    """Vectors (k, n), float64, uniform on the sphere of a space.

    Each comes from a generator of its own, on the CPU: the same for a number and seed on every machine, in every block
    and, but for the known directions, at every point of a path.
    """
    drawn = [
        torch.randn(
            space.size,
            dtype=torch.float64,
            generator=torch.Generator().manual_seed(derive(seed, "probe of a spectral density", number)),
        )
        for number in numbers
    ]
    projected = space.project(space.project(torch.stack(drawn).to(space.like.device)))
    units: Tensor = projected / projected.norm(dim=1, keepdim=True)
    return units


def density(
    matrix: Matrix | Complement,
    probes: int = 8,
    steps: int = 80,
    *,
    first: int = 0,
    seed: int = 0,
    memory: int = MEMORY,
) -> Density:
    """The spectral density of a matrix, raw.

    Args:
        matrix: symmetric (n, n), or what of it is not known.
        probes: number of probes; as many run side by side as fit into memory.
        steps: Lanczos steps, hence products, of each probe; fewer where its subspace is invariant before.
        first: number of the first of them: a measurement may be split into several.
        seed: of the probes.
        memory: bytes for the Lanczos bases, see ``basis_bytes``; one probe at least is taken at a time.

    Returns:
        What the probes saw; nothing if the known directions span the whole space, as these then say all.

    Raises:
        Refused: if the matrix is not finite.
        ValueError: without a probe or a step.
    """
    space = matrix if isinstance(matrix, Complement) else Complement(matrix)
    if probes < 1 or steps < 1:
        raise ValueError(f"{probes} probes of {steps} steps: at least 1 of each")
    alpha, beta = (np.full((probes, steps), np.nan) for _ in range(2))
    if space.dimension:
        block = max(1, memory // basis_bytes(space.size, steps))
        scale = float(np.abs(space.border.values).max(initial=0.0))
        for begin in range(0, probes, block):
            numbers = range(begin, min(begin + block, probes))
            vectors = probe_vectors(space, range(first + numbers.start, first + numbers.stop), seed)
            found = lanczos(space, vectors, steps, scale=scale)
            alpha[numbers], beta[numbers] = found.alpha, found.beta
        if not np.isfinite(alpha[:, 0]).all():
            raise Refused("the curvature here is not finite", "see where the loss is: --what loss")
    return Density(alpha, beta, space.dimension, space.border, resolution(space.like.dtype), seed)
