"""The smaller of the two Gram matrices of A, from blocks of its rows, under a memory budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.spectra.weighted_jacobian import WeightedJacobian

MEMORY = 2**31
"""Bytes that the Gram matrix and rows beside it may take."""
_DOUBLE = 8
_HOST, _DEVICE = 9 / 8, 2.0  # Gram matrices' worth: with some rows beside it; with a copy, as CUDA's solver makes one
_STREAMED = 16  # the share of the memory that a block of rows may take: products of a block need several times as much
_TOGETHER = 256  # rows of a block: more at once are hardly faster, and each has activations of its own


@dataclass(frozen=True)
class Gram:
    """A Gram matrix.

    Attributes:
        matrix: ``AᵀA`` (p, p) or the lower triangle of ``AAᵀ`` (n·R, n·R), whichever is smaller, float64.
        rank_bound: Σ rank L over the examples.
        passes: how often the examples were gone through.
    """

    matrix: Tensor
    rank_bound: int
    passes: int


def gram(matrix: WeightedJacobian, memory: int = MEMORY) -> Gram:
    """Sum up the smaller Gram matrix.

    Args:
        matrix: A.
        memory: bytes for the Gram matrix and rows beside it; on CUDA for a second one, with which it is solved.

    Returns:
        The Gram matrix.

    Raises:
        Refused: if it does not fit into the memory.
    """
    size, height, columns = matrix.size, matrix.height, matrix.columns
    worth = _DEVICE if matrix.point.theta.is_cuda else _HOST
    need = worth * min(size, height) ** 2 * _DOUBLE
    if need > memory:
        words = f"a Gram matrix of {height} rows of {size} parameters needs {need / 2**30:.3g} GiB"
        hint = f"allow more by --dimension-memory {math.ceil(10 * need / 2**30) / 10:g}, or count by quadrature"
        most = math.isqrt(int(memory / worth / _DOUBLE)) // columns
        if most:  # as many rows as fit are always fewer than the parameters, for these do not fit either
            trivial = f"of which at least {size - most * columns} of {size} eigenvalues are 0 whatever the network is"
            hint = f"{hint}; {most} examples would fit, {trivial}"
        raise Refused(f"{words}, more than {memory / 2**30:.3g}", hint)
    found, rank = _outer(matrix, memory) if size < height else _inner(matrix, memory)
    return Gram(found, rank, passes(columns, matrix.batches.count, size, memory))


def passes(columns: int, examples: int, size: int, memory: int = MEMORY) -> int:
    """How often the examples are gone through; the j-th time only those behind what was held before.

    Args:
        columns: R, vector-Jacobian products of an example.
        examples: n.
        size: P.
        memory: bytes.

    Returns:
        1 where P ≤ n·R or all rows fit.
    """
    if size < columns * examples:
        return 1
    return math.ceil(examples / _held(columns, examples, size, memory))


def _held(columns: int, examples: int, size: int, memory: int) -> int:
    """Examples whose rows are held while the others pass by."""
    left = memory - (columns * examples) ** 2 * _DOUBLE  # rows are gone before the matrix is solved
    return min(examples, max(1, left * 3 // 4 // (columns * size * _DOUBLE)))


def _streamed(matrix: WeightedJacobian, memory: int) -> int:
    """Examples in a block of rows."""
    each = matrix.columns * matrix.point.theta.numel() * _DOUBLE
    return max(1, min(memory // _STREAMED // each, _TOGETHER // matrix.columns))


def _outer(matrix: WeightedJacobian, memory: int) -> tuple[Tensor, int]:
    """``AᵀA`` (P, P), and the bound on its rank."""
    theta = matrix.point.theta
    gram, rank = torch.zeros(matrix.size, matrix.size, dtype=torch.float64, device=theta.device), 0
    for block in matrix.blocks(_streamed(matrix, memory)):
        rows = block.rows.double()
        gram.addmm_(rows.T, rows)
        rank += block.rank
    return gram, rank


def _inner(matrix: WeightedJacobian, memory: int) -> tuple[Tensor, int]:
    """The lower triangle of ``AAᵀ`` (n·R, n·R), and the bound on its rank.

    As many rows as fit are held, and those behind them pass by, until all have been held.
    """
    theta, columns, examples = matrix.point.theta, matrix.columns, matrix.batches.count
    gram = torch.zeros(matrix.height, matrix.height, dtype=torch.float64, device=theta.device)
    most = _held(columns, examples, matrix.size, memory)
    held = torch.empty(most * columns, matrix.size, dtype=torch.float64, device=theta.device)
    rank = 0
    for first in range(0, examples, most):
        begin, end = first * columns, min(first + most, examples) * columns
        place = begin
        for block in matrix.blocks(min(_streamed(matrix, memory), most), first):
            rows = block.rows.double()
            rank += block.rank if first == 0 else 0
            inside = min(max(0, end - place), len(rows))
            held[place - begin : place - begin + inside] = rows[:inside]
            there = min(place + inside, end) - begin
            gram[place : place + len(rows), begin : begin + there] = rows @ held[:there].T
            place += len(rows)
    return gram, rank
