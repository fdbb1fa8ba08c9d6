"""Path quantities that look at models first: at positions of the path, and at models beside it; each look is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, flag_of
from rashomon_cli.core.results import Result
from rashomon_cli.core.specs import parse_reference
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Step, counted
from rashomon_cli.operations.predictions import Images, data_of
from rashomon_cli.operations.probing.others import Other, blamed
from rashomon_cli.operations.probing.points import Places, Sample
from rashomon_cli.operations.quantities import Gathering, Quantity, Sizes
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.sources import data
from rashomon_cli.store import Job, Parent, Run

if TYPE_CHECKING:
    from rashomon_cli.science.problem import Point

_OTHERS = "rashomon ls --kind model"


@dataclass(frozen=True)
class Planned:
    """What one quantity gathers, checked as far as that goes without torch.

    Attributes:
        quantity: that has a gathering.
        settings: its options.
        positions: on the path.
        against: models beside the path.
        other: other data, if it names some.
    """

    quantity: Quantity
    settings: Config
    positions: Sequence[float]
    against: Sequence[subjects.Subject]
    other: Other | None

    @property
    def gathering(self) -> Gathering:
        """Of the quantity."""
        assert self.quantity.gathering is not None
        return self.quantity.gathering

    @property
    def images(self) -> Images | None:
        """The examples of the other data."""
        return None if self.other is None else self.other.images

    @property
    def parents(self) -> list[Parent]:
        """The models beside the path, with their roles, ``against-1`` and so on."""
        role = str(self.gathering.against).removeprefix(f"{self.quantity.name}_")
        return [model.parent(f"{role}-{number}") for number, model in enumerate(self.against, 1)]

    def steps(self, context: Context, subject: subjects.Subject, refresh_samples: Samples, float64: bool) -> list[Step]:
        """What it costs, by the problem of each model."""
        looked = [(subject.run, len(self.positions), counted(len(self.positions), "point"))]
        looked += [(model.run, 1, model.label) for model in self.against]
        found = []
        for run, count, place in looked:
            kept = data_of(run)
            sizes = Sizes(int(kept["train_count"]), int(kept["test_count"]))
            sizes = replace(sizes, other=len(self.images.inputs) if self.images else 0)
            problem = next(iter(subjects.problems_of(context, run, float64)))
            for step in self.gathering.steps(self.settings, sizes):
                title = f"{self.quantity.name}: {step.title} at {place}"
                found.append(replace(step, title=title, forward_passes=count * step.forward_passes, problem=problem))
            refreshed = count * taken(refresh_samples, sizes.train)
            found.append(Step(f"{self.quantity.name}: BatchNorm refreshed at {place}", refreshed, problem=problem))
        return found

    def measure(self, job: Job, places: Places) -> Result:
        """Gather what is not kept yet, then measure.

        Args:
            job: keeps what was gathered.
            places: the path and its problem.

        Returns:
            What the quantity found.

        Raises:
            Refused: if a model fails on the data, or its outputs are not finite or of another shape.
        """
        seen = []
        for index, t in enumerate(self.positions):
            key = f"{self.quantity.name}-{index}"
            kept = job.part(key)
            if kept is None:
                kept = self._gather(places, places.loaded, places.at(t), f"{places.subject.run.name}@{t:g}")
                job.save(key, kept)
            seen.append(kept)
        beside = []
        for index, model in enumerate(self.against):
            key = f"{self.quantity.name}-beside-{index}"
            kept = job.part(key)
            if kept is None:
                kept = self._gather(places, *places.beside(model), model.label)
                job.save(key, kept)
            if {n: v.shape for n, v in kept.tensors.items()} != {n: v.shape for n, v in seen[0].tensors.items()}:
                raise Refused(f"{model.label} and {places.subject.label} give outputs of different shapes", _OTHERS)
            beside.append(kept)
        sample = Sample(places.loaded, places.seed, self.images)
        arguments = self.quantity.arguments(self.settings, sample)
        found: Result = self.quantity.load()(
            places.loaded.problem, places.path, self.positions, seen, beside, **arguments
        )
        return found

    def _gather(self, places: Places, loaded: problems.Loaded, point: Point, label: str) -> Result:
        """What one model shows.

        Raises:
            Refused: if it fails on the data, or what it gives is not finite.
        """
        sample = Sample(loaded, places.seed, self.images)
        arguments = self.gathering.arguments(self.settings, sample)
        with blamed(self.other, label):
            found = self.gathering.load()(loaded.problem, point, tick=places.context.progress.tick, **arguments)
        if not all(np.isfinite(values).all() for values in found.tensors.values()):
            raise Refused(f"{label} gives outputs that are not finite", "measure a path without it")
        return found


def prepare(
    context: Context,
    quantity: Quantity,
    settings: Config,
    subject: subjects.Subject,
    ts: Sequence[float],
    other: Other | None,
) -> Planned:
    """Look up the models that a quantity names beside the path, without importing torch.

    Raises:
        UsageError: if a name does not exist, is no model, or occurs twice.
        Refused: if a model does not fit the path.
    """
    gathering = quantity.gathering
    assert gathering is not None
    positions = list(ts) if gathering.positions is None else list(gathering.positions(settings))
    against: list[subjects.Subject] = []
    if gathering.against is not None:
        flag = flag_of(gathering.against)
        for text in getattr(settings, gathering.against):
            reference = parse_reference(text)
            if context.store.find(reference.name).id == subject.run.id:
                where = f"{subject.run.name} itself" if reference.t is None else f"{text}, which lies on the path"
                raise UsageError(f"{flag} names {where}", f"name other models: {_OTHERS}")
            model = subjects.find(context, text, "model")
            if any((model.run.id, model.t) == (other.run.id, other.t) for other in against):
                raise UsageError(f"{flag} names {model.label} twice", f"name different models: {_OTHERS}")
            _check_model(context, model, subject)
            against.append(model)
    return Planned(quantity, settings, positions, against, other)


def _check_model(context: Context, model: subjects.Subject, subject: subjects.Subject) -> None:
    """Refuse a model that cannot be compared with a path on the path's test examples.

    Raises:
        Refused: if it predicts something else, or its test examples are others.
    """
    kept, own = data_of(model.run), data_of(subject.run)
    if kept["regression"] != own["regression"]:
        kinds = ["does not" if regression else "does" for regression in (kept["regression"], own["regression"])]
        raise Refused(f"{model.label} {kinds[0]} classify, {subject.label} {kinds[1]}", _OTHERS)
    if kept["num_classes"] != own["num_classes"]:
        counts = f"{kept['num_classes']} and {own['num_classes']}"
        raise Refused(f"{model.label} and {subject.label} have different numbers of outputs: {counts}", _OTHERS)
    if kept["fingerprint"] == own["fingerprint"] and kept.get("content") == own.get("content"):
        return
    one, two = (_test_examples(context, run) for run in (model.run, subject.run))
    if not all(np.array_equal(a, b) for a, b in zip(one, two)):
        raise Refused(f"{model.label} and {subject.label} have different test examples", _OTHERS)


def _test_examples(context: Context, run: Run) -> tuple[Any, Any]:
    """Test inputs and targets of a run."""
    record: Mapping[str, Any] = data_of(run)
    found = data.of_record(dict(record), context.where.data_root)[0].load(context.store.cache)
    return found.x_test, found.y_test
