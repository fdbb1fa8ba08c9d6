"""From a run's name to what science works on: a model, or a path, with its problem."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.errors import Damaged, Refused, UsageError
from rashomon_cli.core.specs import Reference, parse_reference
from rashomon_cli.operations import polylines, problems, weights
from rashomon_cli.operations.context import Context
from rashomon_cli.sources import builders, data, imports
from rashomon_cli.sources.arrays import Data, Statistics
from rashomon_cli.store import Parent, Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rashomon_cli.science.paths import Path

REFRESH_SAMPLES = 5000
_GREY_LEVEL = 1 / 255


@dataclass(frozen=True)
class Subject:
    """A run that was named, and the position on its path where one was given."""

    run: Run
    reference: Reference

    @property
    def t(self) -> float | None:
        """Position on the path."""
        return self.reference.t

    @property
    def label(self) -> str:
        """``NAME`` or ``NAME@t`` with the run's present name."""
        return str(Reference(self.run.name, self.t))

    def parent(self, role: str) -> Parent:
        """The record of this run as a parent."""
        main = self.run.record.artifacts[0].sha256 if self.run.record.artifacts else None
        return Parent(id=self.run.id, role=role, t=self.t, sha256=main)


def find(context: Context, text: str, *kinds: str) -> Subject:
    """Look up a run and check its kind; nothing of it is loaded.

    Args:
        context: the store.
        text: ``NAME``, an id or its prefix, or ``NAME@t``.
        kinds: what it may be; a path with ``@t`` counts as a model.

    Returns:
        The run and the position.

    Raises:
        UsageError: if there is none, or it is of another kind, or t is given for what is no path.
    """
    reference = parse_reference(text)
    run = context.store.find(reference.name)
    if reference.t is not None and run.kind != "path":
        words = f"{run.name} is a {run.kind}, it has no position @{reference.t:g}"
        if run.kind not in kinds:
            raise UsageError(words, f"rashomon ls --kind {kinds[0]}")
        raise UsageError(words, f"write {run.name}", (text, run.name))
    kind = "model" if reference.t is not None else run.kind
    if kind not in kinds:
        on_path = f"{run.name}@0.5" if run.kind == "path" else None
        hint = f"write {on_path} for a model on it" if on_path else f"rashomon ls --kind {kinds[0]}"
        fix = (text, on_path) if on_path else None
        raise UsageError(f"{run.name} is a {run.kind}; this takes a {' or a '.join(kinds)}", hint, fix)
    return Subject(run, reference)


def inherited(run: Run, augment: str, weight_decay: float | None = None) -> dict[str, Any]:
    """Options that what is made from a run has from it, for the new run's record.

    Args:
        run: the model or path that it is made from.
        augment: as asked for; ``auto`` takes that of the run.
        weight_decay: as asked for; None takes that of the run.

    Returns:
        ``loss``, ``augment`` and ``weight_decay``.
    """
    config = run.record.config
    return {
        "loss": config["loss"],
        "augment": config.get("augment", "auto") if augment == "auto" else augment,
        "weight_decay": float(config.get("weight_decay", 0.0)) if weight_decay is None else weight_decay,
    }


def problems_of(context: Context, run: Run, float64: bool = False) -> dict[str, Callable[[], problems.Loaded]]:
    """What loads the problem of a model or path, by a name that is the same for all runs of that problem."""
    record = run.record
    name = json.dumps([record.builder, record.data, record.config.get("loss"), float64], sort_keys=True)
    return {name: lambda: load_problem(context, run, context.torch_device(), float64)}


def load_problem(context: Context, run: Run, device: torch.device, float64: bool = False) -> problems.Loaded:
    """The problem that a model or path was made for: its builder, its data and how they are normalised, its loss.

    What changed since is told: the builder's file or package, the data's files, what they hold, the loss.

    Raises:
        UsageError: if the builder's file or the data are gone.
        Refused: if they no longer fit.
    """
    record = run.record
    if record.builder is None or record.data is None:
        raise Refused(f"run {run.name} keeps no model", "rashomon ls")
    builder, other_builder = builders.of_record(record.builder)
    source, other_data = data.of_record(record.data, context.where.data_root)
    loss, other_loss = problems.loss_of_record(record.config, record.data)
    for warning in (other_builder, other_data, other_loss):
        if warning is not None:
            context.note(warning)
    loaded = problems.load(
        context,
        builder,
        source,
        loss,
        device=device,
        float64=float64,
        weight_decay=float(record.config["weight_decay"]),
        statistics=problems.statistics_of(record.data),
    )
    if changed_content(run, loaded.data):
        context.note(imports.changed(f"what {source.spec} holds", record.data["content"], loaded.data.content))
    return loaded


def changed_content(run: Run, now: Data) -> bool:
    """Whether a run's data hold something else now; unknown, so False, of runs of the first versions."""
    then = (run.record.data or {}).get("content")
    return then is not None and then != now.content


def check_statistics(a: Subject, b: Subject) -> None:
    """Refuse two models whose images are normalised so differently that each is another function for the other's.

    Statistics of two samples of the same images differ a little: less than one grey level is no difference.

    Raises:
        Refused: if they differ, or those of one are missing.
    """
    found = [problems.statistics_of(subject.run.record.data or {"mean": None}) for subject in (a, b)]
    if found[0] is None and found[1] is None:
        return
    if found[0] is not None and found[1] is not None:
        (mean, std), (mean_b, std_b) = (np.array(each) for each in found)
        if mean.shape == mean_b.shape:
            black, white = (np.abs(std * ((pixel - mean) / std - (pixel - mean_b) / std_b)) for pixel in (0, 1))
            if max(black.max(), white.max()) < _GREY_LEVEL:
                return
    words = " and ".join(f"{subject.label} by {_shown(each)}" for subject, each in zip((a, b), found))
    raise Refused(
        f"the images of the two models are normalised differently: {words}", "name models of one normalisation"
    )


def _shown(statistics: Statistics | None) -> str:
    """Statistics in words."""
    if statistics is None:
        return "nothing"
    mean, std = (",".join(f"{value:.3g}" for value in values) for values in statistics)
    return f"mean {mean}, std {std}"


def load_model(
    context: Context, loaded: problems.Loaded, subject: Subject, device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """Parameters (P,) and buffers of a model run, or of the model at t on a path with BatchNorm statistics of its own.

    Raises:
        Damaged: if a file was altered.
        Refused: if names or shapes are not those of the builder's module.
    """
    if subject.t is None:
        return weights.load_theta(loaded, subject.run, device)
    from rashomon_cli.science.batchnorm import refresh
    from rashomon_cli.science.problem import fresh_buffers

    theta = load_path(context, loaded, subject.run, device).at(subject.t)
    sample = loaded.batches("train").sample(REFRESH_SAMPLES, 0, "train sample")
    return theta, refresh(loaded.problem, theta, fresh_buffers(loaded.problem.module), sample)


def load_path(context: Context, loaded: problems.Loaded, run: Run, device: torch.device) -> Path:
    """The path of a run: its bends, and its ends from the runs that it was made from.

    Raises:
        Damaged: if a file was altered, or an end is not what it was.
        Refused: if bends and ends do not fit.
    """
    import torch

    from rashomon_cli.science.paths import Path

    stored = run.tensors("path.safetensors")
    if "points" in stored:
        return Path(run.record.config["kind"], polylines.points_of(loaded, run, stored, device))
    ends, parents = [], ends_of(run)
    for parent in parents:
        end = Subject(_end(context, run, parent), Reference(parent.id, parent.t))
        if parent.sha256 != end.parent(parent.role).sha256:
            raise Damaged(f"the end {end.label} of {run.name} is not what it was", "restore its folder from a copy")
        ends.append(load_model(context, loaded, end, device))
    thetas = adopt(loaded, ends, [parent.role for parent in parents])
    bends = torch.from_numpy(np.array(stored["bends"])).to(thetas[0])
    if bends.shape[1:] != thetas[0].shape:
        raise Refused(f"the bends of {run.name} have {bends.shape[-1]} parameters, its ends {len(thetas[0])}")
    return Path(run.record.config["kind"], torch.stack([thetas[0], *bends, thetas[1]]))


def ends_of(run: Run) -> list[Parent]:
    """The parents that are the two ends of a path, ``a`` and ``b``; others say how the path was made.

    Raises:
        Refused: if the run does not lead from one model to another.
    """
    ends = [parent for role in ("a", "b") for parent in run.record.parents if parent.role == role]
    if len(ends) != 2:
        raise Refused(f"{run.name} is no path from one model to another", f"rashomon show {run.name}")
    return ends


def adopt(
    loaded: problems.Loaded, ends: Sequence[tuple[Tensor, Mapping[str, Tensor]]], labels: Sequence[str]
) -> list[Tensor]:
    """Give the module of a path what both its ends have besides parameters and BatchNorm statistics.

    Args:
        loaded: the problem; the points of the path take these values from its module.
        ends: parameters (P,) and buffers of the models.
        labels: their names.

    Returns:
        The parameters of the ends.

    Raises:
        Refused: if the ends differ in what is not trained: then no path of parameters leads from one to the other.
    """
    import torch

    from rashomon_cli.science.batchnorm import constants

    with torch.no_grad():
        for name, value in constants(loaded.problem.module).items():
            value.copy_(ends[0][1][name])
            for (_, buffers), label in zip(ends[1:], labels[1:], strict=True):
                if not torch.equal(buffers[name], value):
                    raise Refused(
                        f"{labels[0]} and {label} differ in {name}, which is not trained",
                        "give both the same, for example by a seed of its own in the builder",
                    )
    return [theta for theta, _ in ends]


def _end(context: Context, run: Run, parent: Parent) -> Run:
    """The run that a path was made from.

    Raises:
        Damaged: if it is gone.
    """
    try:
        return context.store.find(parent.id)
    except UsageError:
        raise Damaged(
            f"the end {parent.role} of {run.name}, run {parent.id}, is gone", "restore its folder from a copy"
        ) from None


def parameter_shapes(context: Context, subject: Subject) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's parameters and buffers by name, without torch.

    Raises:
        Damaged: if a file was altered.
    """
    run = subject.run
    while run.kind == "path":
        if (own := polylines.shapes_of(run)) is not None:
            return own
        run = _end(context, run, ends_of(run)[0])
    return {name: array.shape for name, array in run.tensors("model.safetensors").items()}
