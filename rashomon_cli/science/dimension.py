"""The dimension of the ridge at a point, by every route that is asked for, with and without symmetries.

It is measured in pieces, each of which can be kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array, Result, Variable, scalar, series
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra import dimensions
from rashomon_cli.science.spectra.blocks import matching
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.lanczos import resolution
from rashomon_cli.science.spectra.null_directions import none, null_directions
from rashomon_cli.science.spectra.rank import rank_ratio
from rashomon_cli.science.spectra.routes import Route, Setting, a_block, by_gram, by_pairs, by_quadrature

ROUTES = ("gram", "top", "quadrature")
MEMORY = 2**31
_SPENT = "products of the matrix with one vector"


def dimension(
    problem: Problem,
    point: Point,
    *,
    routes: Collection[str] = ROUTES,
    probes: int = 8,
    block: int = 4,
    **options: Any,
) -> Result:
    """How many eigenvalues of a curvature count as zero; :func:`one_piece` for each piece, then :func:`joined`.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        routes: of :data:`ROUTES`.
        probes: of the quadrature.
        block: probes of a piece.
        options: further ones of :func:`one_piece`.

    Returns:
        What :func:`joined` says.

    Raises:
        Refused: if no route can be gone.
        UsageError: if no layer matches.
    """
    found: list[Result] = []
    for index in range(len(pieces(routes, probes, block))):
        own: dict[str, Any] = {"routes": routes, "probes": probes, "block": block, "first": found[0] if found else None}
        found.append(one_piece(problem, point, index=index, **own, **options))
    return joined(found)


def pieces(routes: Collection[str], probes: int, block: int) -> list[str | range]:
    """What is measured one after the other: blocks of the quadrature's probes, by their numbers, then other routes."""
    blocks = [range(begin, min(begin + block, probes)) for begin in range(0, probes, block)]
    return [*(blocks if "quadrature" in routes else []), *(name for name in ("gram", "top") if name in routes)]


def one_piece(
    problem: Problem,
    point: Point,
    *,
    batches: Batches,
    epsilon: float,
    step: float,
    kind: str = "hessian",
    layers: str | None = None,
    with_decay: bool = False,
    routes: Collection[str] = ROUTES,
    probes: int = 8,
    steps: int = 80,
    deflate: int = 10,
    block: int = 4,
    limit: int = 300,
    decades: float = 3.0,
    symmetries: bool = True,
    memory: int = MEMORY,
    seed: int = 0,
    index: int = 0,
    first: Result | None = None,
    tick: Tick = silent,
) -> Result:
    """How many eigenvalues of a curvature count as zero, as a route sees it, or some probes of one.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        batches: the examples.
        epsilon: ε > 0, the rise of the loss that a step may bring.
        step: r > 0, its length; τ = 2ε/r².
        kind: ``hessian``, ``ggn`` or ``fisher``.
        layers: only the parameters of layers that match; None takes all.
        with_decay: add wd·I, the Hessian of the penalty.
        routes: of :data:`ROUTES`.
        probes: of the quadrature.
        steps: Lanczos steps of each probe.
        deflate: eigenpairs of the largest |λ| that probes are kept away from.
        block: probes of a piece.
        limit: products of the route ``top``; a matrix of no more rows is written out.
        decades: the curve goes so far to either side of τ.
        symmetries: whether to tell directions of symmetries, which takes a gradient.
        memory: bytes for each of the routes.
        seed: of probes and first vectors; points that share it have common probes.
        index: which of :func:`pieces`.
        first: what the first of them gave; needed by blocks of probes behind it.
        tick: called after each batch.

    Returns:
        For :func:`joined`, or why the route cannot be gone where there is another.

    Raises:
        Refused: if the only route cannot be gone.
        UsageError: if no layer matches.
    """
    chosen = None
    if layers is not None:
        chosen = matching(problem.layout, layers).to(point.theta.device)
    shift = problem.weight_decay if with_decay else 0.0
    tau = dimensions.tolerance(epsilon, step)
    matrix = Curvature(problem, point, batches, kind, chosen, shift, memory, tick)
    if symmetries:
        null = null_directions(problem, point, batches, chosen, memory)
    else:
        null = none(matrix.size, "not asked for")
    images = partial(null.images, problem, point, batches, kind, shift, tick)
    taus, rows = dimensions.grid(tau, decades), null.rows.to(point.theta.device)
    setting = Setting(problem, point, batches, kind, chosen, shift, matrix, rows, images, tau, taus, memory, seed, tick)
    piece = pieces(routes, probes, block)[index]
    tensors: Mapping[str, Array] = {}
    try:
        if isinstance(piece, range):
            if first is not None and "piece_refused" in first.variables:
                return replace(first, variables={**first.variables, "piece_matvecs": _whole(0, _SPENT)})
            seen = a_block(setting, piece, steps=steps, deflate=deflate, room=null.most, first=first)
            found, tensors = seen.variables, seen.tensors
        else:
            found = (by_gram(setting) if piece == "gram" else by_pairs(setting, limit)).stored()
    except Refused as reason:
        if len(routes) == 1:
            raise
        why, helps = _words(reason.message, "why not by this route"), _words(reason.hint or "", "what helps")
        found = {"piece_refused": why, "piece_hint": helps}
    about = {
        "piece_route": _words("quadrature" if isinstance(piece, range) else piece, "the route"),
        "piece_kind": _words(kind, "the matrix"),
        "piece_tau": scalar(tau, "nat", "τ"),
        "piece_taus": series("tolerance", taus, "nat", "tolerance τ"),
        "piece_resolution": scalar(resolution(matrix.like.dtype), "1", "rounding, relative to the largest |λ|"),
        "piece_size": _whole(matrix.size, "number of parameters, hence of eigenvalues"),
        "piece_rank_ratio": rank_ratio(problem, point, batches, matrix.size, kind),
        "piece_asked": _whole(symmetries, "whether symmetries are to be told"),
        "piece_symmetries": _whole(len(rows), "directions of continuous symmetries that were found: at least so many"),
        "piece_lacking": _words(null.lacking, "why some symmetries could not be told"),
        "piece_matvecs": _whole(matrix.matvecs, _SPENT),
    }
    return Result({**about, **found}, tensors)


def joined(found: Sequence[Result]) -> Result:
    """How many eigenvalues of a curvature count as zero, by every route that is asked for.

    Args:
        found: what :func:`one_piece` gave, in order.

    Returns:
        What :func:`~rashomon_cli.science.spectra.dimensions.result` gives of all directions and, as
        ``dimension_less_symmetries``, of those without symmetries if these are asked for: NaN between the ends that
        remain where none of them could be told; ``dimension_parameters``, the number of all directions;
        ``dimension_symmetries``, that of symmetries, and ``dimension_symmetries_lacking``, why some could not be told,
        empty if none lack; ``dimension_scale``, the largest |λ| seen; ``dimension_rank_ratio``, n(C − 1)/P;
        ``dimension_resolved``, whether τ is above what rounding leaves uncertain; ``dimension_R_refused``, why a route
        R could not be gone, empty if it could; what the routes add, such as the raw density; ``matvecs``.

    Raises:
        Refused: if no route can be gone.
    """
    about = found[0].variables
    by_route: dict[str, list[Mapping[str, Variable]]] = {}
    for name in ROUTES:
        if blocks := [each.variables for each in found if each.variables["piece_route"].values == name]:
            by_route[name] = blocks
    refusals = {name: next((b for b in blocks if "piece_refused" in b), None) for name, blocks in by_route.items()}
    taus, tau, size = about["piece_taus"].values, float(about["piece_tau"].values), int(about["piece_size"].values)
    gone = [
        by_quadrature(blocks, taus) if name == "quadrature" else Route.of(name, blocks[0])
        for name, blocks in by_route.items()
        if refusals[name] is None
    ]
    if not gone:
        reason = next(each for each in refusals.values() if each is not None)
        raise Refused(str(reason["piece_refused"].values), str(reason["piece_hint"].values) or None)
    scale = max(route.scale for route in gone)
    noise = float(about["piece_resolution"].values) * scale
    variables = {
        "dimension_symmetries": about["piece_symmetries"],
        "dimension_symmetries_lacking": about["piece_lacking"],
        "dimension_parameters": about["piece_size"],
        "dimension_rank_ratio": about["piece_rank_ratio"],
        "dimension_scale": scalar(scale, "nat", "largest |λ| that was seen"),
        "dimension_resolved": _whole(tau >= noise, "whether τ is above rounding"),
        **{
            f"dimension_{name}_refused": _words(str(why["piece_refused"].values) if why else "", f"why not by {name}")
            for name, why in refusals.items()
        },
    }
    every = dimensions.reconcile([route.count for route in gone])
    counts = {"dimension": every}
    told = int(about["piece_symmetries"].values)
    if about["piece_asked"].values and str(about["piece_lacking"].values) and not told:
        # Gauss-Newton and Fisher matrices are 0 along symmetries. A Hessian may have less curvature on what is
        # orthogonal to them than on anything else, and how many interlacing allows depends on their number.
        most = np.full_like(every.high, size) if about["piece_kind"].values == "hessian" else every.high
        counts["dimension_less_symmetries"] = dimensions.untold(every, most)
    elif about["piece_asked"].values:
        counts["dimension_less_symmetries"] = dimensions.reconcile([route.less for route in gone])
    for name, count in counts.items():
        variables |= dimensions.result(count, tau, name, dimensions.NAMES[name]).variables
    for route in gone:
        variables |= {n: v for n, v in route.variables.items() if not n.startswith("piece_")}
    spent = sum(int(each.variables["piece_matvecs"].values) for each in found)
    return Result({**variables, "matvecs": _whole(spent, _SPENT)})


def _whole(value: int | bool, about: str) -> Variable:
    return Variable((), np.asarray(value), "1", about)


def _words(text: str, about: str) -> Variable:
    return Variable((), np.asarray(text), "1", about)
