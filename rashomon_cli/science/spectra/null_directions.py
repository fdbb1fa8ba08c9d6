"""What is known of a curvature matrix's null directions beforehand: those of the network's symmetries."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.generators import Basis, Generators, generators

_FEW = 8  # examples on which symmetries are tried


@dataclass(frozen=True)
class NullDirections:
    """Directions of symmetries.

    Attributes:
        rows: an orthonormal basis of them (s, n), float64, on the CPU.
        lacking: why some could not be told, empty if none lack.
        most: how many there are at most where some were told, whatever depends on what.
    """

    rows: Tensor
    lacking: str
    most: int = 0
    _found: tuple[Generators, Basis] | None = None

    def images(
        self,
        problem: Problem,
        point: Point,
        batches: Batches,
        kind: str = "hessian",
        shift: float = 0.0,
        tick: Tick = silent,
    ) -> Tensor:
        """What the matrix makes of them, for which the Hessian takes a gradient, the others nothing.

        Args:
            problem: the model and loss.
            point: where they are from.
            batches: the examples of the matrix.
            kind: ``hessian``, ``ggn`` or ``fisher``.
            shift: what is added to the diagonal.
            tick: called after each batch.

        Returns:
            (s, n), float64, on the CPU; NaN for rows of which it is not known well.
        """
        images = torch.zeros_like(self.rows)
        if kind == "hessian" and self._found is not None and len(self.rows):
            found, basis = self._found
            images = found.images(basis, Curvature(problem, point, batches, memory=0, tick=tick).gradient())
        return images + shift * self.rows


def null_directions(
    problem: Problem, point: Point, batches: Batches, chosen: Tensor | None, memory: int
) -> NullDirections:
    """The directions of symmetries at a point, as far as they can be told.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen at its statistics.
        batches: examples, of which a few do.
        chosen: a mask of parameters (P,); None for all.
        memory: bytes for them.

    Returns:
        Those that were told, or none and why.
    """
    try:
        if chosen is None:
            found = _few(problem, point, batches, memory)
        else:  # of a block there are fewer, and they are shorter
            found = _of_point(problem, point, batches).within(chosen)
        basis = found.basis(memory)
    except Refused as refusal:
        return none(problem.layout.total if chosen is None else int(chosen.sum()), refusal.message)
    return NullDirections(basis.rows, found.lacking, len(found.kinds) if len(basis.rows) else 0, (found, basis))


def _few(problem: Problem, point: Point, batches: Batches, memory: float) -> Generators:
    """Generators, tried on a few examples."""
    x, y = next(iter(batches))
    return generators(problem, point, x[:_FEW], y[:_FEW], memory)


_last: tuple[weakref.ref[Problem], weakref.ref[Point], Generators] | None = None


def _of_point(problem: Problem, point: Point, batches: Batches) -> Generators:
    """All generators of a point; those of the last one are kept, since one layer after the other asks for them."""
    global _last
    if _last is None or _last[0]() is not problem or _last[1]() is not point:
        _last = weakref.ref(problem), weakref.ref(point), _few(problem, point, batches, math.inf)
    return _last[2]


def none(size: int, why: str) -> NullDirections:
    """No directions over n parameters."""
    return NullDirections(torch.zeros(0, size, dtype=torch.float64), why)
