"""What the known paths between models amount to: barriers by kind, connected components, and levels of merging."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rashomon_cli.core.results import Array, Variable, scalar, series
from rashomon_cli.operations.connecting.routes import ALIGNED, KINDS, Route
from rashomon_cli.operations.subjects import Subject

SYMMETRY = "_up_to_symmetry"
_SQUARE = ("model", "other")
_ALSO = ("components", "pairs_joined", "connected_above_lowest")


@dataclass(frozen=True)
class Lowest:
    """What the lowest of some paths do for each two models (n, n).

    Attributes:
        state: whether they are joined, as numbered in :data:`~rashomon_cli.science.components.STATES`.
        barrier: lowest barrier and its standard error (2, n, n); NaN where there is no path.
        level: highest loss along the path where that is lowest, and its standard error (2, n, n).
        kind: of the path with the lowest barrier.
    """

    state: Array
    barrier: Array
    level: Array
    kind: Array


def summary(
    models: Sequence[Subject], losses: Array, population: int, found: Sequence[Route], epsilon: float
) -> tuple[dict[str, Variable], dict[str, Any]]:
    """Variables and headline numbers of a graph.

    A path to an aligned copy ends at another θ than the model that was moved, so it joins the two up to symmetry only:
    such paths have figures of their own, ``…_up_to_symmetry``, and no part in the others.

    Args:
        models: the nodes, n of them.
        losses: of each model on each image of the sample (n, N).
        population: number of images that these were drawn from.
        found: paths; every pair has its straight line at least.
        epsilon: bound on the barrier of a pair, and on the rise above the lowest loss of the common level.

    Returns:
        Variables along ``model``, ``other``, ``kind``, ``edge`` and ``merge``, and metrics.
    """
    import torch

    from rashomon_cli.science import components
    from rashomon_cli.science.evaluation import standard_error

    count = len(models)
    means = losses.mean(1)
    errors = np.array([standard_error(torch.from_numpy(each), population) for each in losses])
    place = {subject.run.id: number for number, subject in enumerate(models)}
    kinds = [kind for kind in KINDS if any(route.kind == kind for route in found)]
    edges = [_with_level(route, means, errors, place) for route in found]
    states = [components.state(route.barrier, route.stderr, epsilon) for route in edges]
    by_kind = [_lowest([route for route in edges if route.kind == kind], place, epsilon) for kind in kinds]
    strict = _lowest([route for route in edges if route.kind != ALIGNED], place, epsilon)
    every = _lowest(edges, place, epsilon)
    names = np.array([subject.label for subject in models])
    words = ", ".join(f"{number} {text}" for number, text in enumerate(components.STATES))
    barriers = np.stack([each.barrier for each in by_kind], 1)
    variables = {
        "model": series("model", names, "1", "model"),
        "other": series("other", names, "1", "other model"),
        "run": series("model", [subject.run.id for subject in models], "1", "run of the model"),
        "kind": series("kind", kinds, "1", "kind of path"),
        "train_loss": series("model", means, "nat", "training loss, BatchNorm refreshed", errors),
        **_matrices(strict, words),
        **_components(strict),
        **{
            f"{name}{SYMMETRY}": replace(variable, long_name=f"{variable.long_name}, up to symmetry")
            for name, variable in (_matrices(every, words) | _components(every)).items()
        },
        "barrier_loss_by_kind": Variable(
            ("kind", *_SQUARE), barriers[0], "nat", "barrier by kind of path", barriers[1]
        ),
        "state_by_kind": Variable(("kind", *_SQUARE), np.stack([each.state for each in by_kind]), "1", words),
        "epsilon": scalar(epsilon, "nat", "ε"),
        **_edges(edges, states, place, names),
        **_merging(strict),
    }
    bottom = int(means.argmin())
    figures, also = (_figures(paths, means, errors, epsilon) for paths in (strict, every))
    metrics = {
        **figures,
        **{f"pairs_joined_by_{kind}": _pairs(paths, components.JOINED) for kind, paths in zip(kinds, by_kind)},
        **{f"{name}{SYMMETRY}": also[name] for name in _ALSO},
        f"connected_above_lowest{SYMMETRY}_stderr": also["connected_above_lowest_stderr"],
        "models": count,
        "pairs": count * (count - 1) // 2,
        "epsilon": epsilon,
        "lowest_loss": float(means[bottom]),
        "lowest_loss_stderr": float(errors[bottom]),
    }
    return variables, metrics


def _lowest(edges: Sequence[Route], place: dict[str, int], epsilon: float) -> Lowest:
    """The lowest of some paths between each two models; their levels are known."""
    from rashomon_cli.science import components

    square = (len(place), len(place))
    state = np.full(square, components.UNKNOWN)
    barrier, level = np.full((2, 2, *square), np.nan)
    kind = np.full(square, "", dtype=object)
    for route in edges:
        its = components.state(route.barrier, route.stderr, epsilon)
        i, j = place[route.one], place[route.other]
        for at in ((i, j), (j, i)):
            state[at] = max(state[at], its)
            if _keep_lower(barrier[:, *at], route.barrier, route.stderr):
                kind[at] = route.kind
            _keep_lower(level[:, *at], route.level, route.level_stderr)
    return Lowest(state, barrier, level, kind.astype(str))


def _keep_lower(at: Array, value: float, stderr: float) -> bool:
    """Replace a value and its error by lower ones, in place; whether they were lower."""
    lower = math.isnan(at[0]) or value < at[0]
    if lower:
        at[:] = value, stderr
    return lower


def _matrices(paths: Lowest, states: str) -> dict[str, Variable]:
    """What is known of each two models."""
    level = "highest loss along the known path where it is lowest"
    return {
        "barrier_loss": Variable(
            _SQUARE, paths.barrier[0], "nat", "barrier of the lowest known path", paths.barrier[1]
        ),
        "best_kind": Variable(_SQUARE, paths.kind, "1", "kind of the lowest known path"),
        "level": Variable(_SQUARE, paths.level[0], "nat", level, paths.level[1]),
        "state": Variable(_SQUARE, paths.state, "1", states),
    }


def _components(paths: Lowest) -> dict[str, Variable]:
    """The piece that each model lies in."""
    from rashomon_cli.science import components

    _, labels = components.pieces(paths.state == components.JOINED)
    return {"component": series("model", labels, "1", "number of the component that the model is in")}


def _merging(paths: Lowest) -> dict[str, Variable]:
    """How pieces merge as the loss rises."""
    from rashomon_cli.science import components

    found = components.merges(paths.level[0])
    levels, errors = [m.level for m in found], [paths.level[1][m.one, m.other] for m in found]
    return {
        "merge_level": series("merge", levels, "nat", "loss at which two pieces become one", errors),
        "merge_one": series("merge", [m.one for m in found], "1", "model of the first piece, counted from 0"),
        "merge_other": series("merge", [m.other for m in found], "1", "model of the second piece, counted from 0"),
        "merge_left": series("merge", [m.left for m in found], "1", "number of pieces left"),
    }


def _pairs(paths: Lowest, state: int) -> int:
    """Number of pairs in a state."""
    return int(np.triu(paths.state == state, 1).sum())


def _figures(paths: Lowest, means: Array, errors: Array, epsilon: float) -> dict[str, Any]:
    """Headline numbers of what some paths join.

    Args:
        paths: the lowest of them.
        means: loss of each model (n,).
        errors: standard errors of these.
        epsilon: the bound.

    Returns:
        Components and pairs within ε of each pair's higher end, pieces within ε of the lowest loss, and the level at
        which all are one piece.
    """
    from rashomon_cli.science import components

    bottom = int(means.argmin())
    inside = means <= means[bottom] + epsilon
    common, _ = components.pieces((paths.level[0] <= means[bottom] + epsilon)[np.ix_(inside, inside)])
    merges = components.merges(paths.level[0])
    last = merges[-1] if len(merges) == len(means) - 1 else None
    top = (last.level, float(paths.level[1][last.one, last.other])) if last else (math.nan, math.nan)
    return {
        "components": components.pieces(paths.state == components.JOINED)[0],
        "components_possible": components.pieces(paths.state >= components.UNDECIDED)[0],
        **{
            f"pairs_{name.replace(' ', '_')}": _pairs(paths, number)
            for number, name in enumerate(components.STATES)
            if number
        },
        "models_within": int(inside.sum()),
        "components_within": common,
        "connected_level": top[0],
        "connected_level_stderr": top[1],
        "connected_above_lowest": top[0] - float(means[bottom]),
        # At worst: the images are the same at both, so the errors are rather alike than independent.
        "connected_above_lowest_stderr": top[1] + float(errors[bottom]),
        "merge_level": [m.level for m in merges],
    }


def _with_level(route: Route, means: Array, errors: Array, place: dict[str, int]) -> Route:
    """A route whose highest loss is known: the barrier above its higher end, where only that was kept."""
    if not math.isnan(route.level):
        return route
    end = max(place[route.one], place[route.other], key=lambda at: means[at])
    # As if the two were independent, which they are not: the images may be the same.
    error = math.hypot(route.stderr, errors[end])
    return replace(route, level=float(means[end]) + route.barrier, level_stderr=error)


def _edges(edges: Sequence[Route], states: Sequence[int], place: dict[str, int], names: Array) -> dict[str, Variable]:
    """The list of all known paths."""
    from rashomon_cli.science.components import STATES

    barrier, level = [r.barrier for r in edges], [r.level for r in edges]
    return {
        "edge_model": series("edge", [names[place[r.one]] for r in edges], "1", "one end of the path"),
        "edge_other": series("edge", [names[place[r.other]] for r in edges], "1", "other end of the path"),
        "edge_kind": series("edge", [r.kind for r in edges], "1", "kind of path"),
        "edge_run": series("edge", [r.run for r in edges], "1", "run that holds it; none for a line evaluated here"),
        "edge_barrier_loss": series("edge", barrier, "nat", "barrier of the path", [r.stderr for r in edges]),
        "edge_level": series("edge", level, "nat", "highest loss along the path", [r.level_stderr for r in edges]),
        "edge_state": series("edge", [STATES[s] for s in states], "1", "whether it joins its ends within ε"),
    }
