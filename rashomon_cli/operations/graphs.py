"""What the known paths between models amount to: barriers by kind, connected components, and levels of merging."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rashomon_cli.core.results import Array, Variable, scalar, series
from rashomon_cli.operations.routes import KINDS, Route
from rashomon_cli.operations.subjects import Subject


def summary(
    models: Sequence[Subject], losses: Array, population: int, found: Sequence[Route], epsilon: float
) -> tuple[dict[str, Variable], dict[str, Any]]:
    """Variables and headline numbers of a graph.

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

    by_kind = np.full((2, len(kinds), count, count), np.nan)
    state = np.zeros((len(kinds), count, count), dtype=np.int64)
    lowest, level = np.full((2, 2, count, count), np.nan)
    best = np.full((count, count), "", dtype=object)
    for route, its in zip(edges, states, strict=True):
        i, j, k = place[route.one], place[route.other], kinds.index(route.kind)
        for one, other in ((i, j), (j, i)):
            state[k, one, other] = max(state[k, one, other], its)
            _keep_lower(by_kind[:, k, one, other], route.barrier, route.stderr)
            if _keep_lower(lowest[:, one, other], route.barrier, route.stderr):
                best[one, other] = route.kind
            _keep_lower(level[:, one, other], route.level, route.level_stderr)

    overall = state.max(0)
    certain, labels = components.pieces(overall == components.JOINED)
    possible, _ = components.pieces(overall >= components.UNDECIDED)
    merges = components.merges(level[0])
    bottom = int(means.argmin())
    inside = means <= means[bottom] + epsilon
    common, _ = components.pieces((level[0] <= means[bottom] + epsilon)[np.ix_(inside, inside)])
    names = np.array([subject.label for subject in models])
    above = np.triu(np.ones((count, count), dtype=bool), 1)
    words = ", ".join(f"{number} {text}" for number, text in enumerate(components.STATES))
    square = ("model", "other")
    variables = {
        "model": series("model", names, "1", "model"),
        "other": series("other", names, "1", "other model"),
        "run": series("model", [subject.run.id for subject in models], "1", "run of the model"),
        "kind": series("kind", kinds, "1", "kind of path"),
        "train_loss": series("model", means, "nat", "training loss, BatchNorm refreshed", errors),
        "component": series("model", labels, "1", "number of the component that the model is in"),
        "barrier_loss": Variable(square, lowest[0], "nat", "barrier of the lowest known path", lowest[1]),
        "best_kind": Variable(square, best.astype(str), "1", "kind of the lowest known path"),
        "level": Variable(square, level[0], "nat", "highest loss along the known path where it is lowest", level[1]),
        "state": Variable(square, overall, "1", words),
        "barrier_loss_by_kind": Variable(("kind", *square), by_kind[0], "nat", "barrier by kind of path", by_kind[1]),
        "state_by_kind": Variable(("kind", *square), state, "1", words),
        "epsilon": scalar(epsilon, "nat", "ε"),
        **_edges(edges, states, place, names),
        "merge_level": series(
            "merge",
            [m.level for m in merges],
            "nat",
            "loss at which two pieces become one",
            [level[1][m.one, m.other] for m in merges],
        ),
        "merge_one": series("merge", [m.one for m in merges], "1", "model of the first piece, counted from 0"),
        "merge_other": series("merge", [m.other for m in merges], "1", "model of the second piece, counted from 0"),
        "merge_left": series("merge", [m.left for m in merges], "1", "number of pieces left"),
    }
    whole = len(merges) == count - 1
    top = (merges[-1].level, float(level[1][merges[-1].one, merges[-1].other])) if whole else (math.nan, math.nan)
    metrics = {
        "components": certain,
        "components_possible": possible,
        "models": count,
        "pairs": count * (count - 1) // 2,
        **{
            f"pairs_{name.replace(' ', '_')}": int(((overall == number) & above).sum())
            for number, name in enumerate(components.STATES)
            if number
        },
        **{f"pairs_joined_by_{k}": int(((s == components.JOINED) & above).sum()) for k, s in zip(kinds, state)},
        "epsilon": epsilon,
        "lowest_loss": float(means[bottom]),
        "lowest_loss_stderr": float(errors[bottom]),
        "models_within": int(inside.sum()),
        "components_within": common,
        "connected_level": top[0],
        "connected_level_stderr": top[1],
        "connected_above_lowest": top[0] - float(means[bottom]),
        # At worst: the images are the same at both, so the errors are rather alike than independent.
        "connected_above_lowest_stderr": top[1] + float(errors[bottom]),
        "merge_level": [m.level for m in merges],
    }
    return variables, metrics


def _with_level(route: Route, means: Array, errors: Array, place: dict[str, int]) -> Route:
    """A route whose highest loss is known: the barrier above its higher end, where only that was kept."""
    if not math.isnan(route.level):
        return route
    end = max(place[route.one], place[route.other], key=lambda at: means[at])
    # As if the two were independent, which they are not: the images may be the same.
    error = math.hypot(route.stderr, errors[end])
    return replace(route, level=float(means[end]) + route.barrier, level_stderr=error)


def _keep_lower(at: Array, value: float, stderr: float) -> bool:
    """Replace a value and its error by lower ones, in place; whether they were lower."""
    lower = math.isnan(at[0]) or value < at[0]
    if lower:
        at[:] = value, stderr
    return lower


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
