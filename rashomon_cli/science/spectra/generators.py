"""Directions of continuous symmetries at a point: along them neither outputs nor loss change, whatever the data are.

For moves ``θ → g_s(θ)`` with g_0 the identity the direction is the generator ``ξ(θ) = d g_s(θ)/ds`` at s = 0. From
``L(g_s(θ)) = L(θ)`` follows ``ξ·∇L = 0`` and, differentiated once more, ``Hξ = −(Dξ)ᵀ∇L``: an eigenvector of H of
eigenvalue 0 only where ∇L = 0. The Gauss-Newton matrix has it at every point, since Jξ = 0. All of them are affine in
θ, so a single gradient tells what H does to them.

Looked for: what ``science/symmetries`` finds, with BatchNorm frozen, positive factors past ReLU units and norms, and
invertible matrices between queries and keys, values and outputs of attention heads; and constants added to parameters
(``shifts``), of which some the loss alone is blind to, as cross-entropy is to what is added to all logits. Each is
proved by trial in float64. What else there may be is left out, so their number is a lower bound.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.science.problem import Point, Problem
from rashomon_cli.science.spectra import shifts, tangents
from rashomon_cli.science.spectra.affine import Affine
from rashomon_cli.science.spectra.deflation import spanned
from rashomon_cli.science.symmetries import find

MEMORY = 2**31
"""Bytes for directions that are written out."""
_COPIES = 3  # of the rows, while a basis of them is found


@dataclass(frozen=True)
class Basis:
    """An orthonormal basis of directions.

    Attributes:
        rows: (s, n), float64, on the CPU.
        weights: what makes it from the directions (s, m).
        sound: whether a row is no difference of directions that are nearly the same (s,).
    """

    rows: Tensor
    weights: Tensor
    sound: Tensor


@dataclass(frozen=True)
class Generators:
    """Directions of symmetries, as moves make them: neither orthogonal nor of length 1, and some may depend on others.

    Attributes:
        directions: ξ as a function of θ.
        theta: θ (P,), float64.
        kinds: of each (m,): ``rescaling``, ``attention``, ``shift``, or ``loss`` where outputs change but not the loss.
        lacking: why factors and heads could not be told, so that they are not here; empty if they could.
        chosen: a mask (P,) of the parameters of a principal block; None for all.
    """

    directions: Affine
    theta: Array
    kinds: tuple[str, ...]
    lacking: str = ""
    chosen: Array | None = None

    @property
    def matrix(self) -> csr_array:
        """ξ of each (m, n), float64, in the n parameters that are chosen."""
        return self._of_block(self.directions.at(self.theta))

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(Counter(self.kinds))

    def within(self, chosen: Tensor) -> Generators:
        """Those of a principal block: what moves nothing outside.

        Args:
            chosen: a mask of parameters (P,).

        Returns:
            Generators over the chosen parameters.
        """
        mask = chosen.cpu().numpy()
        kept = np.flatnonzero(abs(self.matrix[:, ~mask]).sum(axis=1) == 0)
        kinds = tuple(self.kinds[row] for row in kept)
        return Generators(self.directions.taken(kept), self.theta, kinds, self.lacking, mask)

    def basis(self, memory: int = MEMORY) -> Basis:
        """An orthonormal basis of the directions.

        Args:
            memory: bytes for it and what it takes to find it.

        Returns:
            Rows (s, n); s ≤ m.

        Raises:
            Refused: if it does not fit.
        """
        count, size = self.matrix.shape
        _check_room(count, size, memory)
        return Basis(*spanned(torch.from_numpy(self.matrix.toarray())))

    def images(self, basis: Basis, gradient: Tensor) -> Tensor:
        """What the Hessian makes of a basis of the directions: ``−(Dξ)ᵀ∇L``, no product is taken.

        Args:
            basis: of these directions.
            gradient: ∇L, of the mean loss without a penalty (P,), in all parameters.

        Returns:
            (s, n), float64, on the CPU; NaN where a row is a difference of directions that are nearly the same.
        """
        turned = self._of_block(self.directions.turned(gradient.detach().cpu().double().numpy()))
        found = torch.from_numpy(-np.ascontiguousarray((turned.T @ basis.weights.numpy().T).T))
        found[~basis.sound] = math.nan
        return found

    def _of_block(self, matrix: csr_array) -> csr_array:
        return matrix if self.chosen is None else matrix[:, self.chosen]


def generators(problem: Problem, point: Point, x: Tensor, y: Tensor, memory: float = math.inf) -> Generators:
    """The directions of continuous symmetries of a network and its loss.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen at its statistics.
        x: some inputs (B, …), B ≥ 2; a few do.
        y: their targets.
        memory: bytes for :meth:`Generators.basis`: where those of factors and heads alone do not fit, nothing is proved
            and no others are looked for, as both take long.

    Returns:
        Those that were found and hold: outputs change by no more than 1e-10 of the largest, the loss by 1e-12 of them.

    Raises:
        Refused: if they do not fit into the memory.
    """
    network = shifts.Network(_at(problem, point), problem.layout, problem.loss, _wide(x), _wide(y))
    found: list[tuple[str, Affine]] = []
    lacking, told = "", None
    try:
        told = find(network.module, network.x)
    except Refused as refusal:
        lacking = refusal.message
    if told is not None:
        graph, symmetries, readings = told
        lacking = "" if readings else "what the model does depends on the data, so its factors and heads are not told"
        own = tangents.tangents(graph, symmetries, problem.layout)
        _check_room(own.rescaling.shape[0] + own.attention.shape[0], problem.layout.total, memory, "at least ")
        try:
            tangents.prove(graph, symmetries, problem.layout, network.x)
            found += [("rescaling", own.rescaling), ("attention", own.attention)]
            found += [("shift", each) for each in shifts.of_biases(network, graph, symmetries)]
        except Refused as refusal:
            lacking = refusal.message
    found += [("loss" if kept == "loss" else "shift", each) for kept, each in shifts.of_axes(network)]
    kinds = tuple(kind for kind, rows in found for _ in range(rows.shape[0]))
    directions = Affine.joined([rows for _, rows in found], problem.layout.total)
    return Generators(directions, point.theta.detach().cpu().double().numpy(), kinds, lacking)


def _check_room(count: int, size: int, memory: float, least: str = "") -> None:
    """Compare what a basis of directions (count, size) takes with the memory.

    Raises:
        Refused: if it does not fit.
    """
    need = _COPIES * 8 * count * size
    if need > memory:
        words = f"{least}{count} directions of symmetries of {size} parameters take {need / 2**30:.3g} GiB"
        raise Refused(f"{words}, more than {memory / 2**30:.3g}", "allow more memory, or leave symmetries out")


def _wide(tensor: Tensor) -> Tensor:
    """A tensor on the CPU, in float64 if it is one of floating-point numbers."""
    tensor = tensor.detach().cpu()
    return tensor.double() if tensor.is_floating_point() else tensor


def _at(problem: Problem, point: Point) -> nn.Module:
    """A copy of the module in float64 on the CPU, in eval mode, with the point's tensors."""
    own = copy.deepcopy(problem.module).to(device="cpu", dtype=torch.float64).eval()
    tensors = {**problem.layout.split(point.theta), **point.buffers}
    own.load_state_dict({name: _wide(value) for name, value in tensors.items()}, strict=False)
    return own
