"""Stochastic Lanczos quadrature: the spectral density of a symmetric matrix from a few random probes.

A probe z uniform on the sphere has ``E zᵀf(H)z = tr f(H)/n``, so the measure that Lanczos finds from it is on average
the density of the spectrum (Ubaru, Chen and Saad 2017, Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature;
for networks Ghorbani, Krishnan and Xiao 2019). Directions that are known are taken off first (``deflation``); the
variance then is only that of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.lanczos import Krylov, basis_bytes, resolution
from rashomon_cli.science.spectra.matrices import Matrix

MEMORY = 2**31
"""Bytes for the Lanczos bases of the probes that run side by side."""


@dataclass
class Progress:
    """A density that is being measured; its arrays are all that is needed to go on.

    Attributes:
        alpha: of the probes that are done (probes, steps).
        beta: likewise.
        krylov: the probes that are under way, or None between blocks.
    """

    alpha: Array
    beta: Array
    krylov: Krylov | None = None

    def arrays(self) -> dict[str, Array]:
        """What a file needs to hold; the basis of probes under way is large (see ``basis_bytes``)."""
        running = {} if self.krylov is None else {f"running_{n}": a for n, a in self.krylov.arrays().items()}
        return {"alpha": self.alpha, "beta": self.beta, **running}

    @classmethod
    def of(cls, arrays: Mapping[str, Array], like: Tensor) -> Progress:
        """The progress that was saved, on the device of ``like``."""
        running = {name.removeprefix("running_"): a for name, a in arrays.items() if name.startswith("running_")}
        return cls(arrays["alpha"], arrays["beta"], Krylov.of(running, like) if running else None)


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


def measure(
    space: Complement,
    probes: int,
    steps: int,
    *,
    first: int = 0,
    seed: int = 0,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Iterator[Progress]:
    """Lanczos from each probe, as many side by side as fit into memory.

    Args:
        space: the matrix, less what is known.
        probes: number of probes.
        steps: of each, at most.
        first: number of the first of them: a measurement may be split into several.
        seed: of the probes.
        memory: bytes for the bases; one probe at least is taken at a time.
        progress: to go on from; the outcome is the same bit for bit where blocks are the same.

    Yields:
        The progress after each step of a block, the same object.
    """
    block = max(1, memory // basis_bytes(space.size, steps))
    scale = float(np.abs(space.border.values).max(initial=0.0))
    progress = progress or Progress(np.zeros((0, steps)), np.zeros((0, steps)))
    while (done := len(progress.alpha)) < probes:
        numbers = range(first + done, first + min(done + block, probes))
        if progress.krylov is None:
            progress.krylov = Krylov.begin(probe_vectors(space, numbers, seed), steps)
        krylov = progress.krylov
        while krylov.going:
            krylov.step(space, scale)
            yield progress
        progress.alpha = np.concatenate([progress.alpha, krylov.alpha])
        progress.beta = np.concatenate([progress.beta, krylov.beta])
        progress.krylov = None
        yield progress


def density(
    matrix: Matrix | Complement,
    probes: int = 8,
    steps: int = 80,
    *,
    first: int = 0,
    seed: int = 0,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Density:
    """The spectral density of a matrix, raw.

    Args:
        matrix: symmetric (n, n), or what of it is not known.
        probes: number of probes.
        steps: Lanczos steps, hence products, of each probe; fewer where its subspace is invariant before.
        first: number of the first probe, see :func:`measure`.
        seed: of the probes.
        memory: bytes for the Lanczos bases, see ``basis_bytes``; one probe at least is taken at a time.
        progress: to go on from; see :func:`measure`.

    Returns:
        What the probes saw; nothing if the known directions span the whole space, as these then say all.

    Raises:
        Refused: if the matrix is not finite.
        ValueError: without a probe or a step.
    """
    space = matrix if isinstance(matrix, Complement) else Complement(matrix)
    if probes < 1 or steps < 1:
        raise ValueError(f"{probes} probes of {steps} steps: at least 1 of each")
    if space.dimension == 0:
        nothing = np.full((probes, steps), np.nan)
        return finished(space, Progress(nothing, nothing), seed)
    state = progress or Progress(np.zeros((0, steps)), np.zeros((0, steps)))
    for _ in measure(space, probes, steps, first=first, seed=seed, memory=memory, progress=state):
        pass
    if not np.isfinite(state.alpha[:, 0]).all():
        raise Refused("the curvature here is not finite", "see where the loss is: --what loss")
    return finished(space, state, seed)


def finished(space: Complement, progress: Progress, seed: int) -> Density:
    """The density that a measurement came to.

    Args:
        space: the matrix, less what is known.
        progress: as :func:`measure` left it.
        seed: of the probes.

    Returns:
        What the probes that are done saw.
    """
    return Density(progress.alpha, progress.beta, space.dimension, space.border, resolution(space.like.dtype), seed)
