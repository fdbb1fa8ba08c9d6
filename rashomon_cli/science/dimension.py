"""The dimension of the ridge at a point, by every route that is asked for, with and without symmetries."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Result, Variable, scalar
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra import dimensions
from rashomon_cli.science.spectra.blocks import matching
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.lanczos import resolution
from rashomon_cli.science.spectra.null_directions import none, null_directions
from rashomon_cli.science.spectra.rank import rank_ratio
from rashomon_cli.science.spectra.routes import Route, Setting, by_gram, by_pairs, by_quadrature

ROUTES = ("gram", "top", "quadrature")
MEMORY = 2**31


def dimension(
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
    limit: int = 300,
    decades: float = 3.0,
    symmetries: bool = True,
    memory: int = MEMORY,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """How many eigenvalues of a curvature count as zero.

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
        limit: products of the route ``top``; a matrix of no more rows is written out.
        decades: the curve goes so far to either side of τ.
        symmetries: whether to tell directions of symmetries, which takes a gradient.
        memory: bytes for each of the routes.
        seed: of probes and first vectors; points that share it have common probes.
        tick: called after each batch.

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
    ways = {
        "gram": lambda: by_gram(setting),
        "top": lambda: by_pairs(setting, limit),
        "quadrature": lambda: by_quadrature(setting, probes, steps, deflate, null.most),
    }
    gone: dict[str, Route] = {}
    refusals: dict[str, Refused | None] = dict.fromkeys(name for name in ROUTES if name in routes)
    for name in refusals:
        try:
            gone[name] = ways[name]()
        except Refused as reason:
            refusals[name] = reason
    if not gone:
        first = next(each for each in refusals.values() if each is not None)
        raise Refused(first.message, first.hint)
    scale = max(route.scale for route in gone.values())
    noise = resolution(matrix.like.dtype) * scale
    variables = {
        "dimension_symmetries": Variable((), np.asarray(len(rows)), "1", "directions of continuous symmetries"),
        "dimension_symmetries_lacking": _words(null.lacking, "why some symmetries could not be told"),
        "dimension_parameters": Variable(
            (), np.asarray(matrix.size), "1", "number of parameters, hence of eigenvalues"
        ),
        "dimension_rank_ratio": rank_ratio(problem, point, batches, matrix.size, kind),
        "dimension_scale": scalar(scale, "nat", "largest |λ| that was seen"),
        "dimension_resolved": Variable((), np.asarray(tau >= noise), "1", "whether τ is above rounding"),
        **{
            f"dimension_{n}_refused": _words(why.message if why else "", f"why not by {n}")
            for n, why in refusals.items()
        },
    }
    every = dimensions.reconcile([route.count for route in gone.values()])
    counts = {"dimension": every}
    if symmetries and null.lacking and not len(rows):
        # Gauss-Newton and Fisher matrices are 0 along symmetries. A Hessian may have less curvature on what is
        # orthogonal to them than on anything else, and how many interlacing allows depends on their number.
        most = np.full_like(every.high, matrix.size) if kind == "hessian" else every.high
        counts["dimension_less_symmetries"] = dimensions.untold(every, most)
    elif symmetries:
        counts["dimension_less_symmetries"] = dimensions.reconcile([route.less for route in gone.values()])
    for name, count in counts.items():
        variables |= dimensions.result(count, tau, name, dimensions.NAMES[name]).variables
    for route in gone.values():
        variables |= route.variables
    return Result({**variables, "matvecs": Variable((), np.asarray(matrix.matvecs), "1", "products with one vector")})


def _words(text: str, about: str) -> Variable:
    return Variable((), np.asarray(text), "1", about)
