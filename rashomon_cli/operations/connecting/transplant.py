"""``rashomon connect a b --via transplant``: both pruned to half their units, one put into the other's free ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Metric, Result, Variable, series
from rashomon_cli.core.seeds import derive
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.connecting import fitting, segments
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan, Step, counted
from rashomon_cli.operations.states import arithmetic, space
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig
    from rashomon_cli.science.symmetries import Symmetries
    from rashomon_cli.sources.batches import Batches

SEGMENTS = ("prune a", "grow b", "shift", "erase a", "restore b")
_TRAINING = {"epochs", "batch_size", "lr", "momentum", "weight_decay", "schedule", "augment", "precision"}
OPTIONS = frozenset({"via", "points", "samples", "seed", *_TRAINING})
_LOOKED_AT, _BATCH = 1000, 20
_POINTS = 18  # twice nine: outputs of both halves, four control points, three points between them


def plan(context: Context, config: ConnectConfig, ends: list[subjects.Subject]) -> Plan:
    """Count what it takes.

    Args:
        context: the store.
        config: the options.
        ends: the two models, checked against each other.

    Returns:
        The plan.
    """
    run = ends[0].run
    asked = {name: value for name, value in config.record().items() if name in OPTIONS}
    return Plan(
        "connect",
        asked | {"kind": "polyline"} | subjects.inherited(run, config.augment, config.weight_decay),
        suggestion=f"transplant-{run.name}-{ends[1].run.name}",
        told=(),
        steps=lambda: _steps(config, run.record.data or {}),
        problems=subjects.problems_of(context, run),
        carry_out=lambda job: _carry_out(context, config, job, ends),
        parents=[ends[0].parent("a"), ends[1].parent("b")],
        batch_size=config.batch_size,
    )


def _steps(config: ConnectConfig, record: dict[str, Any]) -> list[Step]:
    train = int(record["train_count"])
    looked = min(_LOOKED_AT, train)
    return [
        Step("BatchNorm refreshed for both models", 2 * looked),
        Step("importance of the units of both models", 2 * looked, "train"),
        Step("outputs compared in float64", segments.compared(record, _POINTS)),
        Step(f"{counted(config.epochs, 'epoch')} of training each half", 2 * config.epochs * train, "train"),
        *segments.steps(config.points, len(SEGMENTS), config.samples, record),
    ]


@dataclass(frozen=True)
class Cut:
    """Where the halves of two networks lie.

    Attributes:
        masks: 0 or 1 for each parameter of the first and the second network, each at its own place (2, P).
        source: for each unit, the unit of the second network that moves there.
    """

    masks: Tensor
    source: Any


def _carry_out(context: Context, config: ConnectConfig, job: Job, ends: list[subjects.Subject]) -> Run:
    import torch

    from rashomon_cli.science import agreement, halves, symmetries, training, transplant

    device = context.torch_device()
    loaded = subjects.load_problem(context, ends[0].run, device)
    layout = loaded.problem.layout
    job.require(space(layout, 4))
    models = [subjects.load_model(context, loaded, end, device) for end in ends]
    thetas = subjects.adopt(loaded, models, [end.label for end in ends])
    decay = float(job.request.config["weight_decay"])
    loaded = replace(loaded, problem=replace(loaded.problem, weight_decay=decay))
    sample = loaded.batches("train").sample(segments.CHECKED, config.seed, "halves")
    _, found, _ = symmetries.find(loaded.problem.module, next(iter(sample))[0][:8])
    transplant.check(found, layout.names)
    exact = replace(sample, dtype=torch.float64)
    # Whether halves lie side by side depends on no choice of units, so any is tried before the work begins.
    tried = _halves(loaded, found, [torch.zeros(found.units)] * 2)
    _prove(loaded, found, tried, _masked(thetas, tried), exact)
    cut = _cut(context, config, job, loaded, found, thetas)
    trained, groups = [], {}
    for name, start, mask in zip("ab", _masked(thetas, cut), cut.masks):
        descend = partial(_descend, training.train, loaded, mask)
        log, part = fitting.Log(), f"half-{name}"
        own, title = derive(config.seed, part), f", half of {name}"
        half = fitting.fit(context, config, job, loaded, start, descend, log, part=part, seed=own, title=title)
        trained.append(half)
        groups[f"training_{name}"] = _history(log.losses)
    off = _prove(loaded, found, cut, trained, exact)
    there = partial(transplant.moved, found, layout, source=cut.source)
    shifted = transplant.shifted(found, layout).to(device)
    inner = halves.moves(trained[0], there(trained[1]), shifted)
    points = torch.cat([thetas[0][None], inner, there(thetas[1])[None]])
    exact_problem = halves.precise(loaded.problem)
    copies = [halves.outputs(exact_problem, theta.double(), exact) for theta in (thetas[1], points[-1])]
    metrics: dict[str, Metric] = {
        "via": "transplant",
        "max_output_difference": max(off, agreement.deviation(*copies)),
        "kept_fraction_a": float(cut.masks[0].mean()),
        "kept_fraction_b": float(cut.masks[1].mean()),
    }
    context.note(f"the path ends at {ends[1].label} with its units at other places, which computes the same")
    built = segments.Built(points, SEGMENTS, metrics, groups)
    made_in = arithmetic(config.precision, device.type)
    return segments.publish(context, job, loaded, built, config.points, config.samples, config.seed, device, made_in)


def _descend(train: Any, loaded: problems.Loaded, mask: Tensor, *given: Any) -> Any:
    """Training under a mask, as :func:`~rashomon_cli.operations.connecting.fitting.fit` calls it."""
    stream, steps, sgd, state, tick = given
    return train(loaded.problem, stream, steps, sgd, state, mask, tick)


def _cut(
    context: Context,
    config: ConnectConfig,
    job: Job,
    loaded: problems.Loaded,
    symmetries: Symmetries,
    thetas: list[Tensor],
) -> Cut:
    """Choose the halves; kept as a part, so that a resumed call goes on with the same ones."""
    import torch

    from rashomon_cli.science import transplant
    from rashomon_cli.science.batchnorm import refresh
    from rashomon_cli.science.problem import Point, fresh_buffers

    kept = job.part("halves")
    if kept is None:
        problem = loaded.problem
        sample = loaded.batches("train").sample(_LOOKED_AT, config.seed, "importance")
        few = replace(sample, batch_size=_BATCH)
        context.progress.start("importance", 2 * (sample.steps + few.steps))
        scores = []
        for name, theta in zip("ab", thetas):
            own = refresh(problem, theta, fresh_buffers(problem.module), sample, context.progress.tick)
            seed = derive(config.seed, f"importance-{name}")
            point = Point(theta, own)
            scores.append(transplant.importance(problem, point, symmetries, few, seed, context.progress.tick))
        found = _halves(loaded, symmetries, scores)
        kept = Result(tensors={"masks": (found.masks != 0).cpu().numpy(), "source": found.source})
        job.save("halves", kept)
    return Cut(torch.from_numpy(np.array(kept.tensors["masks"])).to(thetas[0]), np.array(kept.tensors["source"]))


def _halves(loaded: problems.Loaded, symmetries: Symmetries, scores: list[Tensor]) -> Cut:
    """The halves of the units with the highest scores (U,), those of the first network and of the second."""
    import torch

    from rashomon_cli.science import transplant

    chosen, like = transplant.choose(symmetries, *scores), next(loaded.problem.module.parameters())
    masks = [transplant.mask(symmetries, loaded.problem.layout, keeps) for keeps in (chosen.one, chosen.other)]
    return Cut(torch.stack(masks).to(like), chosen.source)


def _masked(thetas: list[Tensor], cut: Cut) -> list[Tensor]:
    return [theta * mask for theta, mask in zip(thetas, cut.masks)]


def _prove(loaded: problems.Loaded, symmetries: Symmetries, cut: Cut, both: list[Tensor], sample: Batches) -> float:
    """See in float64 that neither half reads the other: together they compute what each does, or a weighted mean.

    Raises:
        Refused: if it does not.
    """
    from rashomon_cli.science import agreement, halves, transplant

    problem, layout = halves.precise(loaded.problem), loaded.problem.layout
    a, b = (theta.double() for theta in both)
    there = transplant.moved(symmetries, layout, b, cut.source)
    points = halves.moves(a, there, transplant.shifted(symmetries, layout).to(a.device))
    f, g = (halves.outputs(problem, theta, sample) for theta in (a, b))
    off = halves.deviation(problem, points, f, g, sample)
    if not off <= agreement.TOLERANCE:
        raise Refused(
            f"{loaded.builder.spec} does not hold two halves side by side: outputs differ by {off:.2g}, so something "
            "reads the units of both, such as a LayerNorm",
            halves.HINT,
        )
    return off


def _history(losses: list[float]) -> dict[str, Variable]:
    return {
        "epoch": series("epoch", np.arange(1, len(losses) + 1), "epoch", "epochs done"),
        "mean_loss": series("epoch", np.array(losses), "nat", "mean loss of the half, as optimised"),
    }
