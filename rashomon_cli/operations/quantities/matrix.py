"""Options that the quantities of a curvature matrix have in common, and what a product with it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationInfo, field_validator

from rashomon_cli.core.options import Config, option
from rashomon_cli.operations.plan import Step, counted
from rashomon_cli.operations.quantities.quantity import Sampler, Samples, Sizes, taken

if TYPE_CHECKING:
    from rashomon_cli.science.problem import Layout
    from rashomon_cli.science.spectrum import Asked


V = TypeVar("V")
C = TypeVar("C", bound="LossConfig")
_LEAST, _CHECK = 12, 11  # products of a first search for pairs, and of the second that looks for what it missed
_COUNTS = "top, trace, density, dimension"
_MATRICES = f"{_COUNTS}, reach, flat"
_LOSSES = f"{_MATRICES}, llc"


class DecayConfig(Config):
    """Whether the penalty belongs to the curvature."""

    with_decay: bool = option(
        False,
        "hvp, top, trace, density, dimension, reach, flat: add wd·I, the Hessian of the L2 penalty.",
        flag="--with-decay",
    )


class LossConfig(Config):
    """Which loss, as a function of which parameters."""

    split: Literal["train", "test"] = option("train", f"{_LOSSES}: the split whose mean loss it is of.")
    layers: str | None = option(None, f"{_LOSSES}: only the parameters of layers that match, as 'blocks.*.conv?'.")
    by: Literal["whole", "layer"] = option(
        "whole", f"{_LOSSES}: of all these parameters together, or of each layer's alone."
    )


class CurvatureConfig(LossConfig, DecayConfig):
    """Which matrix of that loss."""

    matrix: Literal["hessian", "ggn", "fisher"] = option(
        "hessian", f"{_MATRICES}: the Hessian, the generalised Gauss-Newton or the empirical Fisher matrix."
    )


class MatrixConfig(CurvatureConfig):
    """On which examples: settings of ``top``, ``trace``, ``density`` and ``dimension``."""

    samples: Samples = option(4096, f"{_COUNTS}: examples of the split, or all.")


def check_layers(settings: LossConfig, layout: Layout) -> None:
    """Refuse a pattern that no layer matches.

    Raises:
        UsageError: naming the nearest layer.
    """
    if settings.layers is not None:
        layers_of(settings, layout)


def layers_of(settings: LossConfig, layout: Layout) -> list[str]:
    """Names of the layers that settings choose, in the order of the network.

    Raises:
        UsageError: if a pattern matches none.
    """
    from rashomon_cli.science.spectra.blocks import layers

    return list(layers(layout, settings.layers))


def block_sizes(settings: LossConfig, layout: Layout) -> list[int]:
    """Numbers of parameters of what is asked for: of all together, or of each layer."""
    from rashomon_cli.science.spectra.blocks import layers

    sizes = [int(mask.sum()) for mask in layers(layout, settings.layers).values()]
    return [sum(sizes)] if settings.by == "whole" else sizes


def one_by_one(settings: LossConfig, layout: Layout) -> list[str] | None:
    """The layers in each of which a quantity is asked for, None where it is asked for once."""
    return None if settings.by == "whole" else layers_of(settings, layout)


def matrix_arguments(settings: MatrixConfig, sample: Sampler) -> dict[str, Any]:
    """Which matrix, as keywords of the science."""
    return {
        "batches": sample(settings.split, settings.samples),
        "kind": settings.matrix,
        "layers": settings.layers,
        "with_decay": settings.with_decay,
    }


class SpectrumConfig(MatrixConfig):
    """Further settings of ``top``, ``trace`` and ``density``."""

    backend: Literal["own", "pyhessian"] = option(
        "own", "top, trace, density: whose products and algorithms; pyhessian is a second opinion on the whole Hessian."
    )

    @field_validator("backend")
    @classmethod
    def _fits(cls, value: str, info: ValidationInfo) -> str:
        if value == "pyhessian" and [info.data.get(n) for n in ("matrix", "layers", "by")] != [
            "hessian",
            None,
            "whole",
        ]:
            raise ValueError("it knows the whole Hessian only")
        return value

    @classmethod
    def _own(cls, value: V, info: ValidationInfo, words: str, *honoured: V) -> V:
        """Refuse a value that PyHessian's algorithms cannot honour; defaults say nothing, so they pass.

        Raises:
            ValueError: saying what PyHessian does instead.
        """
        passing = [*honoured, cls.model_fields[str(info.field_name)].default]
        if info.data.get("backend") == "pyhessian" and value not in passing:
            raise ValueError(f"--backend pyhessian {words}")
        return value


def asked(settings: SpectrumConfig, sample: Sampler) -> Asked:
    """Which matrix the science is asked for."""
    from rashomon_cli.science.spectrum import Asked

    return Asked(
        batches=sample(settings.split, settings.samples),
        kind=settings.matrix,
        layers=settings.layers,
        by_layer=settings.by == "layer",
        with_decay=settings.with_decay,
        backend=settings.backend,
    )


def searching(pairs: int) -> int:
    """Products with one vector that a search for so many eigenpairs takes, about: more where they lie close."""
    return max(2 * pairs + 4, _LEAST) + _CHECK if pairs else 0


def products(title: str, count: int, settings: MatrixConfig, sizes: Sizes, vectors: int = 1) -> Step:
    """So many calls of the matrix, each with so many vectors.

    Args:
        title: of the step.
        count: calls.
        settings: which matrix.
        sizes: of the data.
        vectors: vectors in a call: they share the batch's graph.

    Returns:
        The step: forward passes and products.
    """
    examples = taken(settings.samples, getattr(sizes, settings.split))
    return Step(title, count * examples, "product", vectors=vectors, batch=examples)


def probing(title: str, probes: int, block: int, steps: int, settings: MatrixConfig, sizes: Sizes) -> list[Step]:
    """Lanczos from random vectors, block by block.

    Args:
        title: of the steps.
        probes: number of the vectors.
        block: so many of them side by side.
        steps: of each, hence products.
        settings: which matrix.
        sizes: of the data.

    Returns:
        The whole blocks, and what is left.
    """
    whole, left = divmod(probes, block)
    found = [(whole * steps, block), (steps, left)]
    return [products(title, count, settings, sizes, vectors) for count, vectors in found if count * vectors]


def each_layer(steps: Callable[[C, Sizes], list[Step]]) -> Callable[[C, Sizes], list[Step]]:
    """Steps of a quantity on the whole matrix as those on what is asked for, which may be each layer's block in turn.

    A product with a block takes about as long as one with the whole: the loss is that of the whole network.
    """

    def asked_for(settings: C, sizes: Sizes) -> list[Step]:
        found = steps(settings, sizes)
        if settings.by == "whole" or sizes.layout is None:
            return found
        count = len(layers_of(settings, sizes.layout))
        words = f"for each of {counted(count, 'layer')}"
        return [
            replace(step, title=f"{step.title} {words}", forward_passes=count * step.forward_passes) for step in found
        ]

    return asked_for
