"""The dimension of the ridge at a point: how many eigenvalues of a curvature count as zero, by up to three routes."""

from __future__ import annotations

from dataclasses import dataclass

from rashomon_cli.core.results import Array


@dataclass(frozen=True)
class Count:
    """The number of eigenvalues with |λ| ≤ τ as a curve over τ, by one route.

    Attributes:
        taus: tolerances τ, increasing (m,).
        value: the number at each τ (m,).
        low: lower end of its interval (m,); equal to ``value`` where the route is exact.
        high: upper end (m,).
        route: ``quadrature``, ``gram`` or ``top``.
    """

    taus: Array
    value: Array
    low: Array
    high: Array
    route: str
