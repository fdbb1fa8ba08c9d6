"""What is known of a curvature matrix's null directions beforehand: those of the network's symmetries."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.generators import Basis, Generators, generators

T = TypeVar("T")
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
    key = memory, None if chosen is None else np.packbits(chosen.cpu().numpy()).tobytes()
    return _DIRECTIONS.at(problem, point, key, lambda: _told(problem, point, batches, chosen, memory))


def none(size: int, why: str) -> NullDirections:
    """No directions over n parameters."""
    return NullDirections(torch.zeros(0, size, dtype=torch.float64), why)


def _told(problem: Problem, point: Point, batches: Batches, chosen: Tensor | None, memory: int) -> NullDirections:
    """The directions in all parameters or in a block, or none and why."""
    try:
        if chosen is None:
            found = _few(problem, point, batches, memory)
        else:  # of a block there are fewer, and they are shorter
            found = _every(problem, point, batches).within(chosen)
        basis = found.basis(memory)
    except Refused as refusal:
        return none(problem.layout.total if chosen is None else int(chosen.sum()), refusal.message)
    return NullDirections(basis.rows, found.lacking, len(found.kinds) if len(basis.rows) else 0, (found, basis))


def _few(problem: Problem, point: Point, batches: Batches, memory: float) -> Generators:
    """Generators, tried on a few examples."""
    x, y = next(iter(batches))
    return generators(problem, point, x[:_FEW], y[:_FEW], memory)


def _every(problem: Problem, point: Point, batches: Batches) -> Generators:
    """Generators, however many; one block after the other asks for them.

    Raises:
        Refused: if they cannot be found.
    """

    def find() -> Generators | Refused:
        try:
            return _few(problem, point, batches, math.inf)
        except Refused as refusal:
            return refusal

    found = _GENERATORS.at(problem, point, None, find)
    if isinstance(found, Refused):
        raise Refused(found.message, found.hint)
    return found


class Latest(Generic[T]):
    """What was found at a point last, until something else is asked for or the point is collected.

    A quantity that is measured in pieces, or layer by layer, asks again and again.
    """

    def __init__(self) -> None:
        self._held: tuple[weakref.ref[Problem], weakref.ref[Point], object, T] | None = None

    def at(self, problem: Problem, point: Point, key: object, find: Callable[[], T]) -> T:
        """What was found there by some key, or is found now."""
        held = self._held
        if held is not None and held[0]() is problem and held[1]() is point and held[2] == key:
            return held[3]
        self._held = held = None  # before another is found: each may be large
        found = find()
        self._held = weakref.ref(problem), weakref.ref(point, self.drop), key, found
        return found

    def drop(self, _: object = None) -> None:
        """Hold it no longer."""
        self._held = None


_DIRECTIONS: Latest[NullDirections] = Latest()
_GENERATORS: Latest[Generators | Refused] = Latest()
