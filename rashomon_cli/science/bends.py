"""More bends for a path that stays where it is, bends on another path, and bends pushed off the straight line."""

from __future__ import annotations

import math

import numpy as np
import torch

from rashomon_cli.core.results import Array
from rashomon_cli.science.paths import Path

PUSH = 0.1


def elevated(path: Path, bends: int) -> Path:
    """The same Bezier curve written with more bends: θ(t) is unchanged at every t (Farin 2002, §6.1).

    Raising the degree n by r gives ``p'ⱼ = Σᵢ C(n, i) C(r, j − i) / C(n + r, j) · pᵢ``, summed here in float64.

    Args:
        path: a Bezier curve.
        bends: how many it is to have.

    Returns:
        The curve; the same control points where it has as many bends already.

    Raises:
        ValueError: if it has more bends, or is no Bezier curve.
    """
    more = _lacking(path, bends, "bezier")
    if not more:
        return path
    old, new = path.degree, path.degree + more
    shares = np.zeros((new + 1, old + 1))
    for j in range(new + 1):
        for i in range(max(0, j - more), min(old, j) + 1):
            shares[j, i] = math.comb(old, i) * math.comb(more, j - i) / math.comb(new, j)
    return Path("bezier", _mixed(path, shares))


def divided(path: Path, bends: int) -> Path:
    """The same polyline, as a set, with more bends: its longest pieces are divided, each segment evenly.

    One bend after the other goes to the segment whose pieces are longest; the bends that it has stay. What changes is
    the parameter: each segment takes an equal share of t, so a part that is divided more often is passed more slowly.

    Args:
        path: a polyline.
        bends: how many it is to have.

    Returns:
        The polyline; the same control points where it has as many bends already.

    Raises:
        ValueError: if it has more bends, or is no polyline.
    """
    more = _lacking(path, bends, "polyline")
    if not more:
        return path
    lengths = (path.points[1:] - path.points[:-1]).double().norm(dim=1).cpu().numpy()
    pieces = np.ones(path.degree, dtype=int)
    for _ in range(more):
        pieces[int((lengths / pieces).argmax())] += 1
    rows = [np.zeros(path.degree + 1)]
    for segment, count in enumerate(pieces):
        for piece in range(1, count + 1):
            row = np.zeros(path.degree + 1)
            row[segment], row[segment + 1] = 1 - piece / count, piece / count
            rows.append(row)
    return Path("polyline", _mixed(path, np.stack(rows)))


def sampled(path: Path, kind: str, bends: int) -> Path:
    """A path of a kind whose bends lie on another path, at the t that each has the most say over: k/(N + 1).

    A polyline made so follows a Bezier curve; a Bezier curve made so is pulled towards a polyline (its Bernstein
    approximation), it does not pass through the bends.

    Args:
        path: the path to follow.
        kind: of the new one.
        bends: N.

    Returns:
        The new path, with the same ends.
    """
    rows = np.stack([path.weights(k / (bends + 1)) for k in range(bends + 2)])
    return Path(kind, _mixed(path, rows))


def pushed(path: Path, chooser: torch.Generator, share: float = PUSH) -> Path:
    """The path with each bend moved at random, at right angles to the straight line between the ends.

    Args:
        path: the path.
        chooser: source of the random numbers, on the CPU.
        share: how far, as a share of the distance between the ends.

    Returns:
        A path with the same ends; the same path where there is no direction at right angles.
    """
    points = path.points.double().clone()
    chord = points[-1] - points[0]
    noise = torch.randn(points[1:-1].shape, generator=chooser, dtype=torch.float64).to(points.device)
    size = noise.norm(dim=1, keepdim=True)
    straight = torch.nn.functional.normalize(chord, dim=0)
    noise -= (noise @ straight)[:, None] * straight
    across = noise.norm(dim=1, keepdim=True)
    step = torch.where(across > 1e-9 * size, share * chord.norm() / across, 0.0)
    points[1:-1] += step * noise
    return Path(path.kind, _keeping_ends(path, points))


def _lacking(path: Path, bends: int, kind: str) -> int:
    """How many bends a path lacks.

    Raises:
        ValueError: if it has too many, or is of another kind.
    """
    more = bends + 1 - path.degree
    if path.kind != kind or more < 0:
        raise ValueError(f"a {path.kind} with {path.degree - 1} bends is no {kind} that can get {bends}")
    return more


def _mixed(path: Path, shares: Array) -> torch.Tensor:
    """Control points (M, P) from shares (M, N + 2) of a path's, in float64; the ends to the bit."""
    points = torch.from_numpy(shares).to(path.points.device) @ path.points.double()
    return _keeping_ends(path, points)


def _keeping_ends(path: Path, points: torch.Tensor) -> torch.Tensor:
    points = points.to(path.points.dtype)
    points[0], points[-1] = path.points[0], path.points[-1]
    return points
