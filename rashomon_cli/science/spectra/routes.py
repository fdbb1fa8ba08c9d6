"""The three routes to a count of eigenvalues near 0, of all directions and of those without symmetries.

The one by quadrature may be gone in blocks of probes, each of which a file can hold; the others are gone at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array, Result, Variable, scalar, series
from rashomon_cli.science.problem import Batches, Point, Problem, Tick
from rashomon_cli.science.spectra import counting, dimensions, gram, slq
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.dimensions import Count
from rashomon_cli.science.spectra.matrices import Matrix
from rashomon_cli.science.spectra.output_factors import Kind
from rashomon_cli.science.spectra.outside import outside
from rashomon_cli.science.spectra.pairs import leading
from rashomon_cli.science.spectra.residual import residual_norm

PREFIX = "dimension_"
"""Of the names of a density's variables that counts are from."""

_STEEPEST = "steepest"
_OWN, _ENDS = "route_", ("value", "low", "high")


@dataclass(frozen=True)
class Setting:
    """What is counted.

    Attributes:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        batches: the examples.
        kind: ``hessian``, ``ggn`` or ``fisher``.
        chosen: a mask of parameters (P,); None for all.
        shift: what is added to the diagonal.
        matrix: what these make.
        rows: orthonormal directions of symmetries (s, n), float64, on the device of the matrix.
        images: gives what the matrix makes of them (s, n), as far as that is known without products.
        tau: τ.
        taus: tolerances of the curve (m,), τ among them.
        memory: bytes for a route.
        seed: of what is drawn.
        tick: called after each batch.
    """

    problem: Problem
    point: Point
    batches: Batches
    kind: str
    chosen: Tensor | None
    shift: float
    matrix: Matrix
    rows: Tensor
    images: Callable[[], Tensor]
    tau: float
    taus: Array
    memory: int
    seed: int
    tick: Tick


@dataclass(frozen=True)
class Route:
    """What a route says.

    Attributes:
        count: of all directions.
        less: of those without symmetries.
        scale: the largest |λ| that it saw.
        variables: what else it found.
    """

    count: Count
    less: Count
    scale: float
    variables: Mapping[str, Variable] = field(default_factory=dict)

    def stored(self) -> dict[str, Variable]:
        """The arrays that a file needs to hold for :meth:`of`."""
        counts = {
            f"{_OWN}{of}_{end}": series("tolerance", getattr(count, end), "1", f"directions with |λ| ≤ τ, {of}, {end}")
            for of, count in (("all", self.count), ("less", self.less))
            for end in _ENDS
        }
        taus = series("tolerance", self.count.taus, "nat", "tolerance τ")
        scale = scalar(self.scale, "nat", "largest |λ| that was seen")
        return {**self.variables, **counts, f"{_OWN}taus": taus, f"{_OWN}scale": scale}

    @classmethod
    def of(cls, name: str, variables: Mapping[str, Variable]) -> Route:
        """The route of a name that was stored."""
        own = {n.removeprefix(_OWN): v.values for n, v in variables.items() if n.startswith(_OWN)}
        every, less = (
            Count(own["taus"], own[f"{of}_value"], own[f"{of}_low"], own[f"{of}_high"], name) for of in ("all", "less")
        )
        rest = {n: v for n, v in variables.items() if not n.startswith(_OWN)}
        return cls(every, less, float(own["scale"]), rest)


def a_block(
    setting: Setting,
    numbers: range,
    *,
    steps: int,
    deflate: int,
    room: int,
    first: Result | None = None,
) -> Result:
    """What some probes of stochastic Lanczos quadrature see.

    Args:
        setting: what is counted.
        numbers: of the probes.
        steps: of Lanczos, for each.
        deflate: eigenpairs of the largest |λ| that are taken out with the first block, besides the directions of
            symmetries.
        room: for so many directions of symmetries in the stored density.
        first: what the first block gave; None for this one.

    Returns:
        For :meth:`~rashomon_cli.science.spectra.density.Density.joined`; of the first block the steepest directions
        as a tensor.

    Raises:
        Refused: if the matrix is not finite, or the first block knew other directions.
    """
    if first is None:
        most = min(deflate, setting.matrix.size - 1)
        top = leading(setting.matrix, most, seed=setting.seed)
        space = Complement(setting.matrix, top.vectors, setting.rows, setting.images())
    else:
        if len(setting.rows) != int(first.variables["density_symmetries"].values):
            raise Refused("other symmetries were found when the measurement began", "make it again: --again")
        steepest = torch.from_numpy(np.array(first.tensors[_STEEPEST])).to(setting.rows)
        known = Density.of(first.variables).border
        space = Complement.of(setting.matrix, torch.cat([setting.rows, steepest]), known)
    found = slq.density(space, len(numbers), steps, first=numbers.start, seed=setting.seed, memory=setting.memory)
    stored = found.variables(deflate + room)
    if first is not None:
        return Result({name: stored[name] for name in ("density_alpha", "density_beta")})
    return Result(stored, {_STEEPEST: space.rows[len(setting.rows) :].cpu().numpy()})


def by_quadrature(blocks: Sequence[Mapping[str, Variable]], taus: Array) -> Route:
    """By stochastic Lanczos quadrature.

    Args:
        blocks: what :func:`a_block` gave, in order.
        taus: tolerances τ (m,).

    Returns:
        The counts, and the raw density as ``dimension_density_…``: that of ``--what density`` has other probes.
    """
    found = Density.joined(blocks)
    count, less = (counting.count(found, taus, with_symmetry=each) for each in (True, False))
    raw = found.variables(len(blocks[0]["density_known"].values))
    own = {f"{PREFIX}{n}": replace(v, dims=tuple(PREFIX + dim for dim in v.dims)) for n, v in raw.items()}
    return Route(count, less, found.scale, own)


def by_gram(setting: Setting) -> Route:
    """By the Gram matrix; for a Hessian with Weyl's interval.

    Args:
        setting: what is counted.

    Returns:
        The counts, and the bound on the rank by the number of examples; for a Hessian also the count of its
        Gauss-Newton matrix itself, and ‖H − G‖₂.

    Raises:
        Refused: if there is no such Gram matrix, or it does not fit.
    """
    own: Kind = "fisher" if setting.kind == "fisher" else "ggn"
    where = setting.problem, setting.point, setting.batches
    found = gram.spectrum(
        *where,
        kind=own,
        chosen=setting.chosen,
        shift=setting.shift,
        memory=setting.memory,
        tick=setting.tick,
    )
    variables = {
        "gram_rank_bound": Variable((), np.asarray(found.rank_bound), "1", "largest rank that the examples allow"),
        "gram_passes": Variable((), np.asarray(found.passes), "1", "how often the examples were gone through"),
    }
    apart = 0.0
    if setting.kind == "hessian":
        ggn = Curvature(*where, "ggn", setting.chosen, setting.shift, setting.memory, setting.tick)
        apart = residual_norm(setting.matrix, ggn, seed=setting.seed)
        variables["ggn_matvecs"] = Variable((), np.asarray(ggn.matvecs), "1", "products with the Gauss-Newton matrix")
        plain = dimensions.reconcile([found.count(setting.taus)])
        curves = dimensions.result(
            plain, setting.tau, "ggn_dimension", "directions with λ ≤ τ of the Gauss-Newton matrix"
        )
        variables |= {
            n: v for n, v in curves.variables.items() if n != "tau" and "route" not in n and "agrees" not in n
        }
        variables["gram_residual"] = scalar(apart, "nat", "norm of Hessian less Gauss-Newton matrix, ‖H − G‖₂")
    count = found.count(setting.taus, apart)
    scale = float(np.abs(found.values + setting.shift).max(initial=0.0))
    return Route(count, count.without(_null(setting)), scale, variables)


def _null(setting: Setting) -> Array:
    """Directions of symmetries within each τ where they are eigenvectors: their eigenvalue is the shift."""
    return np.where(setting.taus >= abs(setting.shift), len(setting.rows), 0)


def by_pairs(setting: Setting, limit: int) -> Route:
    """By all eigenpairs with |λ| > τ.

    Args:
        setting: what is counted.
        limit: products of a search. Where symmetries are no eigenvectors, as of a Hessian where the gradient is not 0,
            a search that got to τ is followed by another on what is orthogonal to them; else the count there is what
            interlacing leaves: within their number of the one of all.

    Returns:
        The counts, and how far they reach.
    """
    options = {"limit": limit, "memory": setting.memory, "seed": setting.seed}
    found = outside(setting.matrix, setting.tau, **options)
    count = found.count(setting.taus)
    less = count.without(_null(setting))
    if len(setting.rows) and setting.kind == "hessian":
        if found.rest <= setting.tau:
            rest = _Aside(setting.matrix, setting.rows)
            less = outside(rest, setting.tau, **options).count(setting.taus).without(len(setting.rows))
        else:
            most = np.minimum(count.high + len(setting.rows), found.size - len(setting.rows))
            low = count.without(len(setting.rows)).low
            less = Count(setting.taus, np.full_like(low, np.nan), low, most, "top")
    scale = float(np.abs(found.values).max(initial=0.0))
    left = scalar(found.rest, "nat", "largest |λ| that the pairs found leave")
    return Route(count, less, scale, {"pairs_rest": left})


class _Aside:
    """A matrix on what is orthogonal to orthonormal rows; 0 on these."""

    def __init__(self, matrix: Matrix, rows: Tensor) -> None:
        self.matrix, self.rows, self.like, self.matvecs = matrix, rows, matrix.like, 0

    @property
    def size(self) -> int:
        return self.matrix.size

    def __call__(self, vectors: Tensor) -> Tensor:
        self.matvecs += len(vectors)
        found: Tensor = self._project(self.matrix(self._project(vectors.double()).to(self.like)).double()).to(self.like)
        return found

    def _project(self, vectors: Tensor) -> Tensor:
        return vectors - (vectors @ self.rows.T) @ self.rows
