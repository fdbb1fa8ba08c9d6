"""The spectral density of a symmetric matrix as raw nodes and weights: what it is and how it is stored.

Each probe sees the spectrum as a measure with some nodes and weights (``quadrature``); on average over probes (``slq``)
that is the density of the n eigenvalues, each of weight 1/n. What is known of a part of the spectrum (``deflation``) is
added exactly. Nothing is smoothed but for a plot: a share of the spectrum near 0 must come from raw weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rashomon_cli.core.results import Array, Variable, scalar
from rashomon_cli.science.spectra.deflation import Border
from rashomon_cli.science.spectra.quadrature import gauss


@dataclass(frozen=True)
class Density:
    """What the probes saw, raw.

    Attributes:
        alpha: diagonals of the probes' tridiagonal matrices (probes, steps); NaN beyond the steps that were taken, and
            everywhere if all is known.
        beta: what couples each step to the next (probes, steps); 0 where the quadrature is exact.
        dimension: of the space that the probes were drawn from: n less the known directions.
        border: what is known of the others.
        resolution: what an eigenvalue may be off by rounding, relative to the largest |λ|.
        seed: of the probes; points of a path that share it share their probes.
    """

    alpha: Array
    beta: Array
    dimension: int
    border: Border
    resolution: float
    seed: int

    @property
    def size(self) -> int:
        """n, the number of eigenvalues."""
        return self.dimension + len(self.border.inside)

    @cached_property
    def rules(self) -> list[tuple[Array, Array]]:
        """Nodes and weights of each probe."""
        return [gauss(*pair) for pair in zip(self.alpha, self.beta, strict=True)]

    @property
    def nodes(self) -> Array:
        """Nodes (probes, steps), increasing; NaN beyond the steps that were taken."""
        return self._padded(0, np.nan)

    @property
    def weights(self) -> Array:
        """Weights (probes, steps) of the nodes, with sum 1 a probe; 0 beyond the steps that were taken."""
        return self._padded(1, 0.0)

    @property
    def scale(self) -> float:
        """Largest |λ| that was seen."""
        return float(np.nanmax(np.abs([*self.nodes.ravel(), *self.border.values])))

    @property
    def noise(self) -> float:
        """What an eigenvalue may be off by rounding."""
        return self.resolution * self.scale

    def _padded(self, which: int, filling: float) -> Array:
        padded = np.full(self.alpha.shape, filling)
        for row, rule in zip(padded, self.rules, strict=True):
            row[: len(rule[which])] = rule[which]
        return padded

    def variables(self, known: int = 0) -> dict[str, Variable]:
        """The arrays that a file needs to hold for :meth:`of`, and the nodes and weights that others will look for.

        Args:
            known: room for so many known directions, so that points of a path have arrays of one shape; NaN beyond.

        Returns:
            The arrays.
        """
        axes, pairs = ("probe", "lanczos_step"), ("known", "known_other")
        spare = (0, max(0, known - len(self.border.inside)))
        inside, outside = (np.pad(a, spare, constant_values=np.nan) for a in (self.border.inside, self.border.outside))
        return {
            "density_nodes": Variable(axes, self.nodes, "nat", "nodes of each probe's quadrature"),
            "density_weights": Variable(axes, self.weights, "1", "weights of the nodes, with sum 1 a probe"),
            "density_alpha": Variable(axes, self.alpha, "nat", "diagonal of each probe's Lanczos matrix"),
            "density_beta": Variable(axes, self.beta, "nat", "its off-diagonal; 0 where a quadrature is exact"),
            "density_dimension": Variable((), np.asarray(self.dimension), "1", "dimension of the probes' space"),
            "density_known": Variable(pairs, inside, "nat", "block of the known directions"),
            "density_coupling": Variable(pairs, outside, "nat^2", "their coupling to the others, squared"),
            "density_symmetries": Variable((), np.asarray(self.border.symmetry), "1", "known directions of symmetries"),
            "density_resolution": scalar(self.resolution, "1", "rounding of eigenvalues, relative to the largest"),
            "density_seed": Variable((), np.asarray(self.seed), "1", "seed of the probes"),
        }

    @classmethod
    def of(cls, variables: Mapping[str, Variable]) -> Density:
        """The density that was stored."""
        values = {name: variable.values for name, variable in variables.items()}
        there = np.isfinite(np.diagonal(values["density_known"]))
        inside, outside = (values[f"density_{name}"][there][:, there] for name in ("known", "coupling"))
        border = Border(inside, outside, int(values["density_symmetries"]))
        return cls(
            values["density_alpha"],
            values["density_beta"],
            int(values["density_dimension"]),
            border,
            float(values["density_resolution"]),
            int(values["density_seed"]),
        )

    @classmethod
    def joined(cls, blocks: Sequence[Mapping[str, Variable]]) -> Density:
        """The density from blocks of probes that were stored, of a matrix less the same known directions.

        Args:
            blocks: of the first what :meth:`variables` gave; of the others ``density_alpha`` and ``density_beta`` do.

        Returns:
            What all of them saw.
        """
        alpha, beta = (np.concatenate([each[f"density_{end}"].values for each in blocks]) for end in ("alpha", "beta"))
        return replace(cls.of(blocks[0]), alpha=alpha, beta=beta)
