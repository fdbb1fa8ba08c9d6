"""Paths through parameter space: Bezier curves and polylines, as weights on their control points.

A path never needs an architecture of its own: θ(t) = Σ cᵢ(t) pᵢ with control points pᵢ ∈ R^P (Garipov et al. 2018,
arXiv 1802.10026, eqs. 3 and 4), so its derivatives are the derivatives of the weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array, Result, scalar, series

KINDS = ("bezier", "polyline")
_COLLINEAR = 1e-6
_NODES = 64


@dataclass(frozen=True)
class Path:
    """A map t ∈ [0, 1] → θ(t) with θ(0) and θ(1) its first and last control points.

    Attributes:
        kind: ``bezier`` or ``polyline``.
        points: control points (N + 2, P): start, N bends, end.

    Raises:
        ValueError: if the kind is unknown or there are fewer than two points.
    """

    kind: str
    points: Tensor

    def __post_init__(self) -> None:
        """Check the kind and the number of points.

        Raises:
            ValueError: if they are wrong.
        """
        if self.kind not in KINDS:
            raise ValueError(f"kind = {self.kind!r} is none of {KINDS}")
        if self.points.ndim != 2 or len(self.points) < 2:
            raise ValueError(f"points of shape {tuple(self.points.shape)} are no (N + 2, P) control points")

    @property
    def degree(self) -> int:
        """N + 1: the degree of the Bezier curve, or the number of segments of the polyline."""
        return len(self.points) - 1

    def weights(self, t: float, order: int = 0) -> Array:
        """Weights (N + 2,) of the control points in the ``order``-th derivative of θ at t.

        At a bend of a polyline the derivative is that of the segment that follows it.

        Args:
            t: position in [0, 1].
            order: 0, 1 or 2.

        Returns:
            float64 weights.

        Raises:
            ValueError: if t is outside [0, 1].
        """
        if not 0.0 <= t <= 1.0:
            raise ValueError(f"t = {t} is outside [0, 1]")
        found = np.zeros(len(self.points))
        if self.kind == "polyline":
            segment = min(int(t * self.degree), self.degree - 1)
            inside = t * self.degree - segment
            if order == 0:
                found[segment], found[segment + 1] = 1 - inside, inside
            elif order == 1:
                found[segment], found[segment + 1] = -self.degree, self.degree
            return found
        if order > self.degree:
            return found
        rest = self.degree - order
        scale = math.perm(self.degree, order)
        for k in range(rest + 1):
            bernstein = math.comb(rest, k) * (1 - t) ** (rest - k) * t**k
            for i in range(order + 1):
                found[k + i] += scale * bernstein * math.comb(order, i) * (-1) ** (order - i)
        return found

    def at(self, t: float) -> Tensor:
        """θ(t) (P,); exactly the first and last control point at 0 and 1."""
        return self._combine(self.weights(t))

    def tangent(self, t: float) -> Tensor:
        """θ'(t) (P,), not normalised."""
        return self._combine(self.weights(t, 1))

    def acceleration(self, t: float) -> Tensor:
        """θ''(t) (P,); zero on a polyline."""
        return self._combine(self.weights(t, 2))

    def _combine(self, weights: Array) -> Tensor:
        used = np.flatnonzero(weights)
        if len(used) == 0:
            return torch.zeros_like(self.points[0])
        if len(used) == 1 and weights[used[0]] == 1.0:
            return self.points[int(used[0])].clone()
        chosen = torch.tensor(weights[used], dtype=self.points.dtype, device=self.points.device)
        every = len(used) == len(self.points)
        return chosen @ (self.points if every else self.points[torch.from_numpy(used).to(self.points.device)])

    def _gram(self) -> Array:
        """Inner products of the control points relative to the first one, in float64."""
        relative = (self.points - self.points[0]).double()
        gram: Array = (relative @ relative.T).cpu().numpy()
        return gram

    def distance(self, t: float) -> float:
        """Euclidean distance ‖θ(t) − θ(0)‖."""
        weights = self.weights(t)
        return math.sqrt(max(0.0, float(weights @ self._gram() @ weights)))

    def arc_length(self, ts: Sequence[float]) -> Array:
        """Length of the path from 0 to each t, by Gauss-Legendre quadrature of ‖θ'(s)‖.

        Args:
            ts: positions (T,), in any order.

        Returns:
            Lengths (T,); exact on a polyline.
        """
        gram = self._gram()
        nodes, shares = np.polynomial.legendre.leggauss(_NODES)
        lengths = []
        for t in ts:
            breaks = [k / self.degree for k in range(self.degree) if k / self.degree < t] + [t]
            if self.kind == "bezier":
                breaks = [0.0, t]
            total = 0.0
            for low, high in itertools.pairwise(breaks):
                for node, share in zip(nodes, shares, strict=True):
                    weights = self.weights(low + (high - low) * (node + 1) / 2, 1)
                    total += share * (high - low) / 2 * math.sqrt(max(0.0, float(weights @ gram @ weights)))
            lengths.append(total)
        return np.array(lengths)


def line(start: Tensor, end: Tensor, bends: int = 0, kind: str = "polyline") -> Path:
    """The straight line between two points, with bends spread evenly along it to start training from."""
    shares = torch.linspace(0, 1, bends + 2, dtype=start.dtype, device=start.device)[:, None]
    points = (1 - shares) * start + shares * end
    points[0], points[-1] = start, end
    return Path(kind, points)


@dataclass(frozen=True)
class Frame:
    """The plane that a path is seen in.

    Attributes:
        straight: unit vector along end − start (P,).
        detour: unit vector of the bends' part orthogonal to it: their first principal component where there are
            several; None where all control points are collinear.
        share: part of the variance of those parts that lies along ``detour``; 1 with one bend, NaN without detour.
    """

    straight: Tensor
    detour: Tensor | None
    share: float


def frame(path: Path) -> Frame | None:
    """The straight and detour directions of a path; None where its ends are equal.

    Args:
        path: the path.

    Returns:
        The frame, in the path's precision.
    """
    chord = (path.points[-1] - path.points[0]).double()
    length = chord.norm()
    if length == 0:
        return None
    straight = chord / length
    bends = (path.points[1:-1] - path.points[0]).double()
    across = bends - (bends @ straight)[:, None] * straight
    dtype = path.points.dtype
    if len(across) == 0 or float(across.norm(dim=1).max()) <= _COLLINEAR * float(length):
        return Frame(straight.to(dtype), None, math.nan)
    values, vectors = torch.linalg.eigh(across @ across.T)
    detour = vectors[:, -1] @ across
    detour = detour / detour.norm()
    if float(across.sum(0) @ detour) < 0:
        detour = -detour
    return Frame(straight.to(dtype), detour.to(dtype), float(values[-1] / values.sum()))


def directions(path: Path, t: float) -> dict[str, Tensor]:
    """Unit vectors ``straight``, ``detour`` and ``tangent`` at a position; those that do not exist are absent."""
    found: dict[str, Tensor] = {}
    plane = frame(path)
    if plane is not None:
        found["straight"] = plane.straight
        if plane.detour is not None:
            found["detour"] = plane.detour
    tangent = path.tangent(t)
    if float(tangent.norm()) > 0:
        found["tangent"] = tangent / tangent.norm()
    return found


def distances(path: Path, ts: Sequence[float]) -> Result:
    """Euclidean distance from the start and arc length at positions of a path.

    Args:
        path: the path.
        ts: positions (T,).

    Returns:
        ``distance`` and ``arc_length`` over t, and ``detour_share``: how planar the path is.
    """
    plane = frame(path)
    return Result(
        {
            "distance": series("t", np.array([path.distance(t) for t in ts]), "1", "distance from the start"),
            "arc_length": series("t", path.arc_length(ts), "1", "arc length from the start"),
            "detour_share": scalar(
                plane.share if plane else float("nan"), "1", "share of the bends' variance along the detour"
            ),
        }
    )
