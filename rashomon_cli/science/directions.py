"""The directions along which a loss is followed: near-null, tangent, random, and the steepest for contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.science.curvature import random_units
from rashomon_cli.science.problem import Point
from rashomon_cli.science.spectra import filters
from rashomon_cli.science.spectra.lanczos import resolution
from rashomon_cli.science.spectra.matrices import Matrix
from rashomon_cli.science.spectra.pairs import extreme, leading


@dataclass(frozen=True)
class Directions:
    """Unit vectors and what the matrix says of them.

    Attributes:
        units: (k, P); a row of zeros is a direction that does not exist at this point.
        kinds: ``top``, ``near_null``, ``tangent``, ``random`` or ``given``, one each.
        curvatures: vᵀHv (k,); NaN where there is no direction.
        residuals: ``‖Hv − (vᵀHv) v‖`` (k,): 0 for an eigenvector.
        blur: how far beyond τ eigenvectors pass into near-null directions; NaN where there are none.
        matvecs: products with one vector that were spent.
    """

    units: Tensor
    kinds: tuple[str, ...]
    curvatures: Array
    residuals: Array
    blur: float
    matvecs: int


def directions(
    matrix: Matrix,
    point: Point,
    *,
    tau: float,
    near_null: int = 4,
    random: int = 2,
    top: int = 2,
    deflate: int = 10,
    degree: int = 100,
    given: Tensor | None = None,
    seed: int = 0,
) -> Directions:
    """Choose directions at a point: the same number of each kind at every point of a path.

    Args:
        matrix: the Hessian there, or another curvature.
        point: θ, and the tangent of its path, which is taken where there is one.
        tau: |λ| that counts as 0.
        near_null: filtered near-null directions, see :func:`~rashomon_cli.science.spectra.filters.near_null`.
        random: directions uniform on the sphere, the same at every point.
        top: eigenvectors of the largest eigenvalues.
        deflate: eigenvectors of the largest |λ|, above τ, that near-null directions are kept away from, which sharpens
            them; where nothing else is left there are fewer.
        degree: of the filter's polynomial.
        given: further directions (m, P), of any length.
        seed: of what is drawn.

    Returns:
        The directions: top, near-null, tangent, random, given.
    """
    before, blur = matrix.matvecs, math.nan
    rows: dict[str, Tensor] = {}
    none = torch.zeros(0, matrix.size).to(point.theta)
    steep = max(top, deflate if near_null else 0)
    values, vectors = (np.zeros(0), none)
    if steep:
        pairs = leading(matrix, steep, seed=seed)
        values, vectors = pairs.values, pairs.vectors
    positive = vectors[torch.from_numpy(values > 0)]
    if top > len(positive):  # eigenvalues below 0 are larger: a saddle
        highest = extreme(matrix, top, 0, seed=seed).top
        noise = resolution(matrix.like.dtype) * np.abs(values).max(initial=0.0)
        positive = highest.vectors[torch.from_numpy(highest.values > noise)]
    rows["top"] = _filled(positive[:top], top)
    known = vectors[:deflate][torch.from_numpy(np.abs(values[:deflate]) > tau)]
    there = min(near_null, matrix.size - len(known)) if np.isfinite(values).all() else 0
    rows["near_null"] = _filled(none, near_null)
    if there:
        found = filters.near_null(matrix, there, tau, degree=degree, known=known, seed=seed)
        rows["near_null"], blur = _filled(found.vectors, near_null), found.blur
    if "tangent" in point.directions or point.t is not None:
        rows["tangent"] = point.directions.get("tangent", torch.zeros_like(point.theta))[None]
    rows["random"] = random_units(point.theta, random, seed)
    if given is not None:
        rows["given"] = (given.double() / given.double().norm(dim=1, keepdim=True)).to(point.theta)
    units = torch.cat([each.to(point.theta) for each in rows.values()])
    kinds = tuple(kind for kind, each in rows.items() for _ in each)
    images, wide = matrix(units).double(), units.double()
    curvatures = (images * wide).sum(1)
    residuals = (images - curvatures[:, None] * wide).norm(dim=1)
    exist = wide.any(dim=1).cpu().numpy()
    own, left = (np.where(exist, each.cpu().numpy(), math.nan) for each in (curvatures, residuals))
    return Directions(units, kinds, own, left, blur, matrix.matvecs - before)


def _filled(rows: Tensor, count: int) -> Tensor:
    """So many rows, the last of them 0 where there are too few."""
    return torch.cat([rows, rows.new_zeros(count - len(rows), rows.shape[1])])
