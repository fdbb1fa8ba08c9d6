"""What a probe measures, and how it is carried out: points one after the other, each kept, then what needs them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.options import Config
from rashomon_cli.core.results import Array, Metric, Result, Variable, scalar, series, stack
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Step, counted
from rashomon_cli.operations.probing import gatherings
from rashomon_cli.operations.probing.gatherings import Planned
from rashomon_cli.operations.probing.points import Places, Sample
from rashomon_cli.operations.quantities import Quantity, Sizes
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    from rashomon_cli.science.problem import Point

_DIRECTIONS = 3  # straight, detour and tangent


@dataclass(frozen=True)
class Work:
    """What one request measures.

    Attributes:
        context: store and circumstances.
        subject: a model, a path, or NAME@t.
        chosen: the quantities.
        settings: of the quantities, by name; defaults where left out.
        points: positions along a whole path.
        refresh_samples: training examples for the BatchNorm statistics of a point.
        seed: of samples and random directions.
        float64: whether to measure in double precision.
    """

    context: Context
    subject: subjects.Subject
    chosen: list[Quantity]
    settings: Mapping[str, Config]
    points: int
    refresh_samples: Samples
    seed: int
    float64: bool

    @cached_property
    def gathered(self) -> dict[str, Planned]:
        """What quantities look at models of their own, by name; looked up once.

        Raises:
            UsageError: if a name does not exist.
            Refused: if a model or data do not fit.
        """
        places = [t for t in self.ts if t is not None]
        return {
            q.name: gatherings.prepare(self.context, q, self.of(q), self.subject, places, self.seed)
            for q in self.chosen
            if q.gathering is not None
        }

    @property
    def ts(self) -> list[float | None]:
        """Positions of the points."""
        if self.subject.run.kind == "path" and self.subject.t is None:
            return [float(t) for t in np.linspace(0, 1, self.points)]
        return [self.subject.t]

    @property
    def uses_points(self) -> bool:
        """Whether anything is measured at the positions of ``--points``."""
        return any(q.gathering is None or q.gathering.positions is None for q in self.chosen)

    def of(self, quantity: Quantity) -> Config:
        """The settings of a quantity."""
        return self.settings.get(quantity.name) or quantity.settings()

    def record(self, quantity: Quantity) -> dict[str, Any]:
        """The settings of a quantity as JSON values."""
        planned = self.gathered.get(quantity.name)
        return self.of(quantity).record() if planned is None else planned.record

    def steps(self) -> list[Step]:
        """What it costs."""
        run, points = self.subject.run, len(self.ts)
        on_path = run.kind == "path"
        record = run.record.data or {}
        sizes = Sizes(int(record["train_count"]), int(record["test_count"]), _DIRECTIONS if on_path else 0)
        place = counted(points, "point")
        steps = [
            replace(step, title=f"{step.title} at {place}", forward_passes=points * step.forward_passes)
            for q in self.chosen
            for step in q.steps(self.of(q), sizes)
        ]
        if on_path and any(q.gathering is None for q in self.chosen):
            refreshed = points * taken(self.refresh_samples, sizes.train)
            steps.append(Step(f"BatchNorm refreshed at {place}", refreshed))
        for planned in self.gathered.values():
            steps += planned.steps(self.context, self.subject, self.refresh_samples, self.float64)
        return steps

    def carry_out(self, job: Job) -> Run:
        """Measure, and publish a run of kind ``measurement``."""
        context, subject = self.context, self.subject
        places = Places.of(context, subject, self.refresh_samples, self.seed, self.float64)
        sample = Sample(places.loaded, self.seed)
        context.progress.start("probe", sum(s.forward_passes for s in self.steps()) // problems.EVALUATION_BATCH)
        results = self._at_points(job, places, sample)
        variables = _joined(results, self.ts, subject)
        vectors = {name: value for result in results for name, value in result.tensors.items()}
        metrics: dict[str, Metric] = {"batchnorm": "stored" if places.path is None else "refreshed"}
        if subject.run.kind == "path" and subject.t is None:
            for quantity in self.chosen:
                variables |= quantity.summarise(variables)
        positions = [t for t in self.ts if t is not None]
        for quantity in (q for q in self.chosen if q.subject == "path"):
            planned = self.gathered.get(quantity.name)
            if planned is not None:
                found = planned.measure(job, places)
            else:
                found = quantity.load()(places.path, positions, **quantity.arguments(self.of(quantity), sample))
            metrics |= found.metrics
            kept = found.variables
            variables |= kept if subject.t is None else {name: _only(v) for name, v in kept.items()}
        if any("t" in variable.dims for variable in variables.values()):
            variables["t"] = series("t", np.array(self.ts), "1", "position on the path, t")
        return job.publish(
            "measurement",
            metrics=_metrics(variables) | metrics,
            measurements=problems.in_units(subject.run.record.config["loss"], {"probe": variables}),
            tensor_files={"vectors.safetensors": (vectors, {})} if vectors else None,
            builder=places.loaded.builder.record(),
            data=places.loaded.data_record,
            seeds={"seed": self.seed},
            **context.details(places.device),
        )

    def _at_points(self, job: Job, places: Places, sample: Sample) -> list[Result]:
        """What is measured at each point; the values of an interrupted call are taken over."""
        results: list[Result] = []
        for index, t in enumerate(self.ts):
            merged: dict[str, Variable] = {}
            tensors: dict[str, Array] = {}
            point: Point | None = None
            for quantity in (q for q in self.chosen if q.subject == "point"):
                kept = job.part(f"{quantity.name}-{index}")
                if kept is None:
                    point = point or places.at(t)
                    options = quantity.arguments(self.of(quantity), sample)
                    kept = quantity.load()(places.loaded.problem, point, tick=self.context.progress.tick, **options)
                    job.save(f"{quantity.name}-{index}", kept)
                spent = [each.get("matvecs") for each in (merged, kept.variables)]
                merged |= kept.variables
                if all(spent):
                    merged["matvecs"] = replace(spent[0], values=sum(each.values for each in spent))
                tensors |= {f"{index}/{quantity.name}/{name}": value for name, value in kept.tensors.items()}
            results.append(Result(merged, tensors))
        return results


def _joined(results: Sequence[Result], ts: Sequence[float | None], subject: subjects.Subject) -> dict[str, Variable]:
    """The values of all points along t; those of a single point as they are."""
    if subject.run.kind == "path" and subject.t is None:
        return stack(results, "t")
    variables = dict(results[0].variables)
    if subject.t is not None:
        variables["t"] = scalar(subject.t, "1", "position on the path, t")
    return variables


def _only(variable: Variable) -> Variable:
    """The single entry of a variable over one position."""
    if variable.dims != ("t",):
        return variable
    return Variable((), np.asarray(variable.values[0]), variable.units, variable.long_name)


def _metrics(variables: Mapping[str, Variable]) -> dict[str, Metric]:
    """Numbers and lists with their standard errors; arrays of more dimensions are in ``metrics.h5`` only.

    Lists follow the positions that they lie along.
    """
    metrics: dict[str, Metric] = {}
    short = {name: variable for name, variable in variables.items() if len(variable.dims) < 2}
    dims = list(dict.fromkeys(variable.dims for variable in short.values()))
    placed = sorted(short, key=lambda name: (dims.index(short[name].dims), (name,) != short[name].dims))
    for name in placed:
        variable = short[name]
        metrics[name] = np.asarray(variable.values).tolist()
        if variable.stderr is not None:
            metrics[f"{name}_stderr"] = np.asarray(variable.stderr).tolist()
    return metrics
