"""Simplicial complexes of low loss: every anchor spans a simplex with the same trained vertices (Benton et al. 2021).

The complex of anchors a₁ … a_A and trained vertices w₁ … w_d is the union of the d-dimensional simplices
(aᵢ, w₁, …, w_d), which have the face (w₁, …, w_d) in common ("Loss surface simplexes for mode connecting volumes and
fast ensembling", arXiv 2102.13042, section 4). Vertices are trained one after another, as there: w_k minimises

    E_{simplex, point} L(θ) − λ log V,   V = Σᵢ volume(aᵢ, w₁, …, w_k),

with the earlier vertices fixed, where the simplex is chosen evenly and the point is uniform on it: its barycentric
coordinates are Dirichlet(1, …, 1). With d = 1 and two anchors the complex is the polyline a₁, w₁, a₂, and for λ = 0
the objective is that of a polyline with one bend (Garipov et al. 2018, arXiv 1802.10026).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rashomon_cli.science.problem import Problem, Tick, silent
from rashomon_cli.science.training import SGD, Epochs, TrainState, descend


def log_volume(vertices: Tensor) -> float:
    """Logarithm of the d-dimensional volume of a simplex, which itself leaves the range of floats easily.

    V = √det G / d!, where G holds the inner products of the edges from the first vertex: the Gram form of the
    Cayley–Menger determinant.

    Args:
        vertices: corners (d + 1, P), d ≥ 1.

    Returns:
        log V; −inf where the corners lie in fewer than d dimensions.
    """
    edges = (vertices[1:] - vertices[0]).double()
    if len(edges) > edges.shape[1]:
        return -math.inf
    # The singular values of the edges, not the determinant of their inner products, which would square the condition.
    sizes = torch.linalg.svdvals(torch.linalg.qr(edges.T, mode="r").R)
    if float(sizes.min()) <= 1e-12 * float(sizes.max()):
        return -math.inf
    return float(sizes.log().sum()) - math.lgamma(len(edges) + 1)


def barycentric(count: int, chooser: torch.Generator) -> Tensor:
    """Coordinates of a uniformly random point of a simplex: Dirichlet(1, …, 1), exponentials over their sum.

    Args:
        count: number of corners.
        chooser: source of the random numbers, on the CPU.

    Returns:
        Weights of the corners (count,), float64, with sum 1.
    """
    waits = torch.empty(count, dtype=torch.float64).exponential_(generator=chooser)
    return waits / waits.sum()


@dataclass(frozen=True)
class Heights:
    """The volume of a complex as a function of its newest vertex, the other ones fixed.

    Each simplex has volume = (its facet without the newest vertex) · height / d, so only the heights change.

    Attributes:
        feet: a corner of each facet: the anchors (A, P), float64.
        bases: orthonormal directions of each facet (A, P, d − 1), float64.
        log_facets: logarithm of each facet's (d − 1)-dimensional volume (A,), float64; 0 where it is a point.
    """

    feet: Tensor
    bases: Tensor
    log_facets: Tensor

    @classmethod
    def over(cls, anchors: Tensor, vertices: Tensor) -> Heights:
        """The facets of anchors (A, P) with the vertices (d − 1, P) that are fixed."""
        feet = anchors.double()
        edges = vertices.double()[None] - feet[:, None]
        bases = torch.linalg.qr(edges.mT).Q
        facets = [log_volume(torch.cat([foot[None], vertices.double()])) if len(vertices) else 0.0 for foot in feet]
        return cls(feet, bases, torch.tensor(facets, dtype=torch.float64, device=feet.device))

    def log_volume(self, vertex: Tensor) -> tuple[float, Tensor]:
        """Logarithm of the volume of the whole complex, and its gradient.

        Args:
            vertex: the newest vertex (P,).

        Returns:
            log V, and ∂ log V/∂vertex (P,) in the precision of the vertex; no gradient along simplices of height 0.
        """
        risen = vertex.double() - self.feet
        risen = risen - (self.bases @ (self.bases.mT @ risen[..., None]))[..., 0]
        heights = risen.norm(dim=1)
        logs = self.log_facets + heights.log() - math.log(self.bases.shape[-1] + 1)
        shares = torch.where(heights > 0, logs.softmax(0) / heights.square(), 0.0).nan_to_num(0.0)
        return float(logs.logsumexp(0)), (shares @ risen).to(vertex)


def fit(
    problem: Problem,
    anchors: Tensor,
    vertices: Tensor,
    volume: float,
    stream: Epochs,
    steps: int,
    cfg: SGD,
    state: TrainState,
    tick: Tick = silent,
) -> Iterator[TrainState]:
    """Train one more vertex of the complex: a random point of a random simplex a batch.

    The weight decay penalises the point, as in the training of a path.

    Args:
        problem: the model and loss.
        anchors: (A, P).
        vertices: trained before, and fixed (d − 1, P).
        volume: λ of the term −λ log V.
        stream: epoch number → its batches.
        steps: batches an epoch.
        cfg: hyperparameters.
        state: ``theta`` holds the vertex (P,).
        tick: called after each step with the loss.

    Yields:
        The state after each epoch.

    Raises:
        Diverged: if a loss is not finite.
    """
    heights = Heights.over(anchors, vertices) if volume else None

    def place(vertex: Tensor, chooser: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        anchor = int(torch.randint(len(anchors), (), generator=chooser))
        weights = barycentric(len(vertices) + 2, chooser).to(vertex)
        theta = weights[0] * anchors[anchor] + weights[1:-1] @ vertices + weights[-1] * vertex

        def pull(gradient: Tensor) -> Tensor:
            found: Tensor = weights[-1] * (gradient + cfg.weight_decay * theta)
            return found if heights is None else found - volume * heights.log_volume(vertex)[1]

        return theta, pull

    yield from descend(problem, stream, steps, replace(cfg, weight_decay=0.0), state, place, tick=tick)
