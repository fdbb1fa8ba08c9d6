"""Symmetric matrices that are known by their products with vectors."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Matrix(Protocol):
    """A symmetric matrix (n, n).

    Attributes:
        like: a tensor of the type and on the device of the vectors that it takes.
        matvecs: products with one vector so far.
    """

    like: Tensor
    matvecs: int

    @property
    def size(self) -> int:
        """The number of rows, n."""
        ...

    def __call__(self, vectors: Tensor) -> Tensor:
        """Its products (k, n) with the rows of ``vectors`` (k, n)."""
        ...


class Dense:
    """A matrix that is there.

    Args:
        matrix: symmetric (n, n).
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.like = torch.empty(0, dtype=matrix.dtype, device=matrix.device)
        self.matvecs = 0

    @property
    def size(self) -> int:
        """The number of rows, n."""
        return len(self.matrix)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Its products (k, n) with the rows of ``vectors`` (k, n)."""
        self.matvecs += len(vectors)
        return vectors @ self.matrix
