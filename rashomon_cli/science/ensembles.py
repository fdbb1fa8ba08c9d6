"""Ensembles of models along a path, against their members and against independent models.

Garipov et al. 2018 (arXiv 1802.10026, §5) average the predictions of models on one ridge: where that beats a single
one, the ridge is more than irrelevant parameters (Post R, step 8).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Result, Variable, scalar, series
from rashomon_cli.science.evaluation import standard_error
from rashomon_cli.science.paths import Path
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent, squared_error

Z95 = 1.959964
_UNITS = {"loss": "nat", "error": "percent"}
_WORDS = {
    "member_{}_mean": "the mean member",
    "member_{}_best": "the best member",
    "ensemble_{}": "the ensemble of all members",
    "equal_{}": "the ensemble of as many members as there are independent models",
    "independent_{}": "the ensemble of independent models",
}
_DIFFERENCES = {
    "ensemble_minus_member_mean_{}": ("ensemble_{}", "member_{}_mean"),
    "ensemble_minus_member_best_{}": ("ensemble_{}", "member_{}_best"),
    "ensemble_minus_independent_{}": ("ensemble_{}", "independent_{}"),
    "equal_minus_independent_{}": ("equal_{}", "independent_{}"),
}


@torch.no_grad()
def predictions(problem: Problem, point: Point, *, batches: Batches, tick: Tick = silent) -> Result:
    """Outputs of a point.

    Args:
        problem: the model.
        point: θ with its own BatchNorm statistics.
        batches: the examples.
        tick: called after each batch.

    Returns:
        ``outputs`` (n, C) as a tensor.
    """
    problem.module.eval()
    found = []
    for x, _ in batches:
        found.append(problem.outputs(point.theta, point.buffers, x).cpu())
        tick(None)
    return Result(tensors={"outputs": torch.cat(found).numpy()})


def averages(problem: Problem) -> str:
    """What an ensemble of these models averages: ``probabilities`` of a classifier, else ``outputs``.

    For the squared error outputs are predictions as they are, of classes too.
    """
    return "probabilities" if problem.classifies and problem.loss is not squared_error else "outputs"


def combine(problem: Problem, outputs: Tensor) -> Tensor:
    """The ensemble's outputs, as the loss takes them: log mean softmax, or the mean.

    Args:
        problem: says which.
        outputs: of the members (k, n, C).

    Returns:
        (n, C).
    """
    if averages(problem) == "outputs":
        return outputs.mean(0)
    return outputs.log_softmax(-1).logsumexp(0) - math.log(len(outputs))


def middles(members: int, count: int) -> list[int]:
    """Which members lie nearest to the middles of ``count`` equal parts of the path; ``count`` ≤ ``members``.

    Where two are equally near, it is the one farther from the path's middle, so that a path and its reverse have the
    same ensemble, and no member is in it twice. Only in the very middle of an even number the earlier one is taken.
    """
    return [((2 * i + 1) * (members - 1) + count - (2 * i + 1 <= count)) // (2 * count) for i in range(count)]


def ensemble(
    problem: Problem,
    path: Path,
    positions: Sequence[float],
    seen: Sequence[Result],
    beside: Sequence[Result],
    *,
    batches: Batches,
) -> Result:
    """Compare the ensemble of members along a path with them, and with an ensemble of independent models.

    Standard errors and 95 % intervals (normal theory) take the examples as draws from all that there could be, so they
    are not 0 on a whole test split; those of differences are paired by example. The best member is chosen on the same
    examples, which favours it.

    Args:
        problem: loss, and whether outputs are logits.
        path: only its positions matter.
        positions: t of the members (k,).
        seen: what :func:`predictions` found at each.
        beside: the same of the independent models; none takes the members at the path's ends.
        batches: the examples, for their targets.

    Returns:
        For X the loss, and of classifiers the error (percent) and accuracy: ``member_X`` along ``member``,
        ``member_X_mean``, ``member_X_best``, ``ensemble_X``; ``independent_X`` of the ensemble of k' independent
        models; ``equal_X`` of the k' members nearest to the middles of k' equal parts of the path. Of loss and error
        ``A_minus_B_X`` with ``_low`` and ``_high``; mean pairwise ``member_disagreement`` and
        ``independent_disagreement``.
    """
    targets = torch.cat([y for _, y in batches])
    members = torch.stack([torch.from_numpy(one.tensors["outputs"]).to(targets.device) for one in seen])
    others = [torch.from_numpy(one.tensors["outputs"]).to(targets.device) for one in beside]
    independents = torch.stack(others) if others else members[[0, -1]]
    each = [_scores(problem, outputs, targets) for outputs in members]
    groups = {"ensemble": members, "independent": independents}
    if len(independents) <= len(members):
        groups["equal"] = members[middles(len(members), len(independents))]
    whole = {name: _scores(problem, combine(problem, outputs), targets) for name, outputs in groups.items()}
    found = {"member": series("member", np.array(positions), "1", "position of the member, t")}
    for measure in whole["ensemble"]:
        found |= _compared(
            measure, torch.stack([one[measure] for one in each]), {n: w[measure] for n, w in whole.items()}
        )
    if problem.classifies:
        found |= _disagreements({"member": members, "independent": independents})
    if "equal" in groups:
        chosen = np.array(positions)[middles(len(members), len(independents))]
        found["equal_member"] = series("equal_member", chosen, "1", "position of the member of the equal ensemble, t")
    counts = {"ensemble_members": len(members), "ensemble_independent_models": len(independents)}
    return Result(found, metrics=counts | {"ensemble_averages": averages(problem), "ensemble_examples": len(targets)})


def _scores(problem: Problem, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Loss, and of a classifier 0 or 100 for a hit or a miss, of each example (n,)."""
    found = {"loss": problem.loss(outputs, targets).double().cpu()}
    if problem.classifies:
        found["error"] = 100 * (outputs.argmax(-1) != targets).double().cpu()
    return found


def _compared(measure: str, each: Tensor, whole: dict[str, Tensor]) -> dict[str, Variable]:
    """The variables of one measure from its values for each example: of the members (k, n), of the ensembles (n,)."""
    found = _levels(measure, f"member_{measure}", each, "a member", ("member",))
    values = {"member_{}_mean": each.mean(0), "member_{}_best": each[int(each.mean(1).argmin())]}
    values |= {f"{name}_{{}}": ensemble for name, ensemble in whole.items()}
    for key, examples in values.items():
        found |= _levels(measure, key.format(measure), examples, _WORDS[key])
    for key, (one, two) in _DIFFERENCES.items():
        if one in values:
            about = f"{measure} of {_WORDS[one]} less that of {_WORDS[two]}"
            found |= _difference(key.format(measure), values[one] - values[two], _UNITS[measure], about)
    return found


def _levels(measure: str, key: str, values: Tensor, words: str, dims: tuple[str, ...] = ()) -> dict[str, Variable]:
    """Means over examples, the last axis, with standard errors; of an error the accuracy besides."""
    means = values.mean(-1).numpy()
    errors = np.reshape([standard_error(row, math.inf) for row in values.reshape(-1, values.shape[-1])], means.shape)
    found = {key: Variable(dims, means, _UNITS[measure], f"{measure} of {words}", errors)}
    if measure == "error":
        name = key.replace("error", "accuracy")
        found[name] = Variable(dims, 1 - means / 100, "1", f"accuracy of {words}", errors / 100)
    return found


def _difference(key: str, values: Tensor, units: str, words: str) -> dict[str, Variable]:
    """The mean of paired differences (n,), with its standard error and 95 % interval."""
    value, error = float(values.mean()), standard_error(values, math.inf)
    found = {key: scalar(value, units, words, error)}
    for side, bound in (("low", value - Z95 * error), ("high", value + Z95 * error)):
        found[f"{key}_{side}"] = scalar(bound, units, f"{words}: {side} end of the 95 % interval")
    return found


def _disagreements(groups: dict[str, Tensor]) -> dict[str, Variable]:
    """Mean over pairs of models of the share of examples on which their classes differ; none of a single model."""
    words = {"member": "members", "independent": "independent models"}
    found: dict[str, Variable] = {}
    for name, outputs in groups.items():
        classes = outputs.argmax(-1).cpu()
        pairs = [(a != b).double() for a, b in itertools.combinations(classes, 2)]
        if pairs:
            each = torch.stack(pairs).mean(0)
            about = f"mean disagreement of two {words[name]}"
            found[f"{name}_disagreement"] = scalar(float(each.mean()), "1", about, standard_error(each, math.inf))
    return found
