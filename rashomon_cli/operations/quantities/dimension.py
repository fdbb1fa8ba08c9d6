"""The dimension of the ridge: how many eigenvalues of a curvature count as zero, as a curve over the tolerance."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from rashomon_cli.core.errors import no_such
from rashomon_cli.core.options import option
from rashomon_cli.core.specs import split_list
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.matrix import (
    MatrixConfig,
    block_sizes,
    check_layers,
    each_layer,
    matrix_arguments,
    one_by_one,
    probing,
    products,
    searching,
)
from rashomon_cli.operations.quantities.quantity import Pieces, Quantity, Sizes, taken

_ROUTES = ("gram", "top", "quadrature")
_DISTANCE = 40  # products with either matrix
_BLOCK = 4  # probes that run side by side


class DimensionConfig(MatrixConfig):
    """Settings of ``dimension``."""

    dimension_epsilon: float = option(0.05, "dimension: rise of the loss ε that a step may bring.", unit="nat", gt=0)
    dimension_step: float = option(1.0, "dimension: length r of that step; |λ| ≤ τ = 2ε/r² counts as 0.", gt=0)
    dimension_routes: tuple[Literal["gram", "top", "quadrature"], ...] = option(
        _ROUTES, "dimension: how to count: gram (GGN by its Gram matrix), top (all pairs beyond τ), quadrature."
    )
    dimension_probes: int = option(8, "dimension: random vectors of the quadrature.", ge=1)
    dimension_steps: int = option(80, "dimension: Lanczos steps of each.", ge=1)
    dimension_deflate: int = option(10, "dimension: eigenpairs that probes are kept away from.", ge=0, le=500)
    dimension_limit: int = option(300, "dimension: products that the route top may spend.", ge=1)
    dimension_memory: float = option(
        2.0, "dimension: memory for a route's matrix or vectors, and for symmetries.", unit="GiB", gt=0, later=True
    )
    dimension_symmetries: bool = option(True, "dimension: also without directions of symmetries.")

    @field_validator("dimension_routes", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        names = tuple(dict.fromkeys(split_list(value) if isinstance(value, str) else value))
        if not names:
            raise ValueError(f"name at least one of {', '.join(_ROUTES)}")
        for name in names:
            if name not in _ROUTES:
                no_such("route", name, _ROUTES, f"one of {', '.join(_ROUTES)}")
        return names


def _steps(settings: DimensionConfig, sizes: Sizes) -> list[Step]:
    found = []
    if "gram" in settings.dimension_routes:
        found.append(_gram(settings, sizes))
        if settings.matrix == "hessian":
            title = f"dimension: distance of the Gauss-Newton matrix in about {_DISTANCE} products"
            found.append(products(title, _DISTANCE, settings, sizes))
    if "top" in settings.dimension_routes:
        limit = settings.dimension_limit
        found.append(products(f"dimension by pairs beyond τ, {limit} products at most", limit, settings, sizes))
    if "quadrature" in settings.dimension_routes:
        count, probes = settings.dimension_steps, settings.dimension_probes
        if settings.dimension_deflate:
            found.append(products("dimension: steepest pairs", searching(settings.dimension_deflate), settings, sizes))
        if settings.dimension_symmetries and settings.matrix == "hessian":
            examples = taken(settings.samples, getattr(sizes, settings.split))
            found.append(Step("dimension: a gradient, for symmetries", examples, "train", batch=examples))
        title = f"dimension by quadrature: {probes} probes of {count} products"
        found += probing(title, probes, _BLOCK, count, settings, sizes)
    return found


def _pieces(settings: DimensionConfig) -> int:
    from rashomon_cli.science.dimension import pieces

    return len(pieces(settings.dimension_routes, settings.dimension_probes, _BLOCK))


def _gram(settings: DimensionConfig, sizes: Sizes) -> Step:
    """The Gram route: where not all rows fit into memory, examples are gone through several times, fewer each time."""
    from rashomon_cli.science.spectra.gram_matrix import passes

    columns = 1 if settings.matrix == "fisher" else sizes.outputs
    examples = taken(settings.samples, getattr(sizes, settings.split))
    blocks = block_sizes(settings, sizes.layout) if sizes.layout else [0]
    halves = sum(passes(columns, examples, size, _bytes(settings)) + 1 for size in blocks)
    times = -(-halves // (2 * len(blocks)))  # of each block, on average
    title = f"dimension by the Gram matrix: gradients of {columns} outputs an example"
    return products(title, times, settings, sizes, vectors=-(-columns // 2))  # a gradient is about half a product


def _bytes(settings: DimensionConfig) -> int:
    return round(settings.dimension_memory * 2**30)


QUANTITY = Quantity(
    name="dimension",
    help="number of |λ| ≤ τ as a curve over τ, with an interval, by up to three routes",
    settings=DimensionConfig,
    subject="point",
    measure="rashomon_cli.science.dimension:one_piece",
    pieces=Pieces(
        _pieces,
        "rashomon_cli.science.dimension:joined",
        after_first=True,
        lasting=lambda piece: "piece_refused" not in piece.variables,
    ),
    arguments=lambda s, sample: {
        **matrix_arguments(s, sample),
        "epsilon": s.dimension_epsilon,
        "step": s.dimension_step,
        "routes": s.dimension_routes,
        "probes": s.dimension_probes,
        "steps": s.dimension_steps,
        "deflate": s.dimension_deflate,
        "block": _BLOCK,
        "limit": s.dimension_limit,
        "symmetries": s.dimension_symmetries,
        "memory": _bytes(s),
        "seed": sample.seed,
    },
    steps=each_layer(_steps),
    layers=one_by_one,
    check=check_layers,
    summary="rashomon_cli.science.spectra.along:along",
    default=False,
)
