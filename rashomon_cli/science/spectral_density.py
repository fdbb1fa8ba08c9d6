"""The spectral density of a curvature matrix at a point, measured in blocks of probes, each of which can be kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from rashomon_cli.core.results import Array, Result, Variable, entry, stack
from rashomon_cli.science import second_opinion
from rashomon_cli.science.problem import Point, Problem, Tick, silent
from rashomon_cli.science.pyhessian_backend import PyHessian
from rashomon_cli.science.spectra import pairs, slq
from rashomon_cli.science.spectra.deflation import Border, Complement
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.matrices import Matrix
from rashomon_cli.science.spectra.summary import summary
from rashomon_cli.science.spectrum import Asked

_KNOWN = ("rows", "inside", "outside")


def one_block(
    problem: Problem,
    point: Point,
    *,
    asked: Asked,
    probes: int = 4,
    steps: int = 80,
    deflate: int = 0,
    block: int = 2,
    index: int = 0,
    first: Result | None = None,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """The spectral density by stochastic Lanczos quadrature, raw, as some of the probes see it.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        asked: which matrix.
        probes: random vectors of all blocks, the same at every point of a path.
        steps: Lanczos steps of each, hence products.
        deflate: eigenpairs of the largest |λ| that are found beforehand, with the first block.
        block: probes of a block; with the backend ``pyhessian`` there is but one, of all.
        index: number of the block, from 0.
        first: what the first block gave; needed by the others where anything is deflated.
        seed: of the probes.
        tick: called after each batch of a product.

    Returns:
        What :meth:`~rashomon_cli.science.spectra.density.Density.variables` holds, and ``matvecs``. Of the first block,
        what is known of the deflated directions as tensors.

    Raises:
        Refused: if the matrix is not finite.
        UsageError: if no layer matches.
    """
    known = _known(first)
    begin = block * index
    count = min(block, probes - begin)

    def measure(matrix: Matrix) -> Result:
        if isinstance(matrix, PyHessian):
            seen, tensors = second_opinion.density(matrix, probes, min(steps, matrix.size), seed=seed), {}
        else:
            space = _deflated(matrix, deflate, seed) if first is None else _again(matrix, next(known))
            seen = slq.density(space, count, steps, first=begin, seed=seed)
            tensors = _kept(space) if deflate and first is None else {}
        spent = Variable((), np.asarray(matrix.matvecs), "1", "products of the matrix with one vector")
        return Result({**seen.variables(deflate), "matvecs": spent}, tensors)

    return asked.each(problem, point, measure, tick)


def joined(blocks: Sequence[Result]) -> Result:
    """The spectral density from all blocks of probes.

    Args:
        blocks: what :func:`one_block` gave, in order.

    Returns:
        What :func:`~rashomon_cli.science.spectra.summary.summary` says, by layer along ``layer``, and ``matvecs``.
    """
    spent = [each.variables["matvecs"] for each in blocks]
    matvecs = replace(spent[0], values=np.sum([each.values for each in spent], axis=0))
    layers = blocks[0].variables.get("layer")
    if layers is None:
        return Result({**_summary([each.variables for each in blocks]), "matvecs": matvecs})
    each = [Result(_summary([entry(b.variables, "layer", row) for b in blocks])) for row in range(len(layers.values))]
    return Result({"layer": layers, **stack(each, "layer"), "matvecs": matvecs})


def _summary(blocks: Sequence[Mapping[str, Variable]]) -> Mapping[str, Variable]:
    return summary(Density.joined(blocks), known=len(blocks[0]["density_known"].values)).variables


def _deflated(matrix: Matrix, deflate: int, seed: int) -> Complement:
    """What is orthogonal to the eigenvectors of the largest |λ|."""
    count = min(deflate, matrix.size - 1)
    if not count:
        return Complement(matrix)
    return Complement(matrix, pairs.leading(matrix, count, seed=seed).vectors)


def _kept(space: Complement) -> dict[str, Array]:
    return dict(zip(_KNOWN, (space.rows.cpu().numpy(), space.border.inside, space.border.outside), strict=True))


def _again(matrix: Matrix, known: Mapping[str, Array]) -> Complement:
    """The complement of directions that are known already, which takes no product."""
    if not known:
        return Complement(matrix)
    rows, inside, outside = (np.array(known[name]) for name in _KNOWN)
    return Complement.of(matrix, torch.from_numpy(rows).to(matrix.like.device), Border(inside, outside))


def _known(first: Result | None) -> Iterator[Mapping[str, Array]]:
    """What the first block knows of the matrix, or of each layer's in turn."""
    if first is None:
        return
    layers = first.variables.get("layer")
    if layers is None:
        yield first.tensors
        return
    for name in layers.values:
        yield {key: first.tensors[f"{name}/{key}"] for key in _KNOWN if f"{name}/{key}" in first.tensors}
