"""What a probe measures, and how it is carried out: points one after the other, each kept, then what needs them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.options import Config
from rashomon_cli.core.results import Metric, Result, Variable, in_layers, scalar, series, stack
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Step, counted
from rashomon_cli.operations.probing import gatherings, others
from rashomon_cli.operations.probing.gatherings import Planned
from rashomon_cli.operations.probing.joining import together
from rashomon_cli.operations.probing.others import Other
from rashomon_cli.operations.probing.points import Places, Sample
from rashomon_cli.operations.probing.telling import told
from rashomon_cli.operations.quantities import Quantity, Sizes
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    from rashomon_cli.science.problem import Layout, Point

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
    def others(self) -> dict[str, Other | None]:
        """Other data that quantities look at, by name; looked up once.

        Raises:
            UsageError: if a name does not exist.
            Refused: if data do not fit.
        """
        return {q.name: others.prepare(self.context, q, self.of(q), self.subject, self.seed) for q in self.chosen}

    @cached_property
    def gathered(self) -> dict[str, Planned]:
        """What quantities look at models of their own, by name; looked up once.

        Raises:
            UsageError: if a name does not exist.
            Refused: if a model does not fit.
        """
        places = [t for t in self.ts if t is not None]
        return {
            q.name: gatherings.prepare(self.context, q, self.of(q), self.subject, places, self.others[q.name])
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
        """The settings of a quantity as JSON values, other data by their canonical name."""
        other = self.others[quantity.name]
        return self.of(quantity).record() | ({} if other is None else other.record)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Digests of the other data."""
        return {name: digest for other in self.others.values() if other for name, digest in other.fingerprints.items()}

    def steps(self, layout: Layout | None = None) -> list[Step]:
        """What it costs.

        Args:
            layout: of the subject's parameters; where it is left out and a setting must fit it, they are loaded.

        Raises:
            UsageError: if a setting does not fit the model.
        """
        layout = self._checked(layout)
        run, points = self.subject.run, len(self.ts)
        on_path = run.kind == "path"
        record = run.record.data or {}
        counts = int(record["train_count"]), int(record["test_count"])
        classes = int(record.get("num_classes") or 1)
        sizes = Sizes(*counts, _DIRECTIONS if on_path else 0, outputs=classes, layout=layout)
        place = counted(points, "point")
        steps = [
            replace(step, title=f"{step.title} at {place}", forward_passes=points * step.forward_passes)
            for q in self.chosen
            for step in q.steps(self.of(q), replace(sizes, other=self._counted(q)))
        ]
        if on_path and any(q.gathering is None for q in self.chosen):
            refreshed = points * taken(self.refresh_samples, sizes.train)
            steps.append(Step(f"BatchNorm refreshed at {place}", refreshed))
        for planned in self.gathered.values():
            steps += planned.steps(self.context, self.subject, self.refresh_samples, self.float64)
        return steps

    def carry_out(self, job: Job) -> Run:
        """Measure, and publish a run of kind ``measurement``.

        Raises:
            UsageError: if a setting does not fit the model.
        """
        context, subject = self.context, self.subject
        places = Places.of(context, subject, self.refresh_samples, self.seed, self.float64)
        steps = self.steps(places.loaded.problem.layout)
        most = problems.EVALUATION_BATCH
        context.progress.start("probe", sum(-(-s.forward_passes // min(s.batch or most, most)) for s in steps))
        points = self._at_points(job, places)
        found: dict[str, Mapping[str, Variable]] = {}
        metrics: dict[str, Metric] = {"batchnorm": "stored" if places.path is None else "refreshed"}
        for quantity in self.chosen:
            if quantity.subject == "point":
                found[quantity.name] = self._joined(quantity, points[quantity.name])
                continue
            planned = self.gathered.get(quantity.name)
            result = self._along(quantity, places) if planned is None else planned.measure(job, places)
            metrics |= result.metrics
            found[quantity.name] = result.variables
            if not self._whole:
                found[quantity.name] = {name: _only(variable) for name, variable in result.variables.items()}
        vectors = {
            f"{index}/{name}/{key}": value
            for name, results in points.items()
            for index, result in enumerate(results)
            for key, value in result.tensors.items()
        }
        variables = together(found)
        if subject.t is not None:
            variables["t"] = scalar(subject.t, "1", "position on the path, t")
        if any("t" in variable.dims for variable in variables.values()):
            variables["t"] = self._positions
        return job.publish(
            "measurement",
            metrics=told(variables) | metrics,
            measurements=problems.in_units(subject.run.record.config["loss"], {"probe": variables}),
            tensor_files={"vectors.safetensors": (vectors, {})} if vectors else None,
            builder=places.loaded.builder.record(),
            data=places.loaded.data_record,
            seeds={"seed": self.seed},
            **context.details(places.device),
        )

    def _checked(self, layout: Layout | None) -> Layout | None:
        """The layout of the parameters, loaded where a quantity needs it; a setting that does not fit it is refused."""
        for quantity in self.chosen:
            if quantity.check is not None:
                if layout is None:
                    (load,) = subjects.problems_of(self.context, self.subject.run, self.float64).values()
                    layout = load().problem.layout
                quantity.check(self.of(quantity), layout)
        return layout

    @property
    def _positions(self) -> Variable:
        """Positions of the points, along t."""
        return series("t", np.array(self.ts), "1", "position on the path, t")

    @property
    def _whole(self) -> bool:
        """Whether the subject is a whole path."""
        return self.subject.run.kind == "path" and self.subject.t is None

    def _counted(self, quantity: Quantity) -> int:
        """Number of examples of other data."""
        other = self.others[quantity.name]
        return 0 if other is None else len(other.images.inputs)

    def _sample(self, quantity: Quantity, places: Places) -> Sample:
        """The examples of a quantity."""
        other = self.others[quantity.name]
        return Sample(places.loaded, self.seed, None if other is None else other.images)

    def _at_points(self, job: Job, places: Places) -> dict[str, list[Result]]:
        """What each quantity measures at each point; the values of an interrupted call are taken over."""
        chosen = [q for q in self.chosen if q.subject == "point"]
        found: dict[str, list[Result]] = {quantity.name: [] for quantity in chosen}
        for index, t in enumerate(self.ts):
            point: Point | None = None
            for quantity in chosen:
                key = f"{quantity.name}-{index}"
                kept = job.part(key)
                if kept is None:
                    point = point or places.at(t)
                    with others.blamed(self.others[quantity.name], self.subject.label):
                        kept = self._at_point(job, places, quantity, point, key)
                    _keep(job, key, kept)
                found[quantity.name].append(kept)
        return found

    def _at_point(self, job: Job, places: Places, quantity: Quantity, point: Point, key: str) -> Result:
        """What a quantity measures at a point; layers of an interrupted call are taken over."""
        options = quantity.arguments(self.of(quantity), self._sample(quantity, places))
        tick, problem = self.context.progress.tick, places.loaded.problem
        measure = partial(quantity.load(), problem, point, tick=tick, **options)
        layers = quantity.layers(self.of(quantity), problem.layout) if quantity.layers else None
        if layers is None:
            return self._in_pieces(job, quantity, measure, key)
        found: dict[str, Result] = {}
        for number, layer in enumerate(layers):
            own = f"{key}-layer{number}"
            kept = job.part(own)
            if kept is None:
                kept = self._in_pieces(job, quantity, partial(measure, layers=layer), own)
                _keep(job, own, kept)
            found[layer] = kept
        return in_layers(found)

    def _in_pieces(self, job: Job, quantity: Quantity, measure: Callable[..., Result], key: str) -> Result:
        """What a quantity measures at once or in pieces; those of an interrupted call are taken over."""
        if quantity.pieces is None:
            return measure()
        found: list[Result] = []
        for number in range(quantity.pieces.count(self.of(quantity))):
            piece = job.part(f"{key}-{number}")
            if piece is None:
                before = {"first": found[0]} if found and quantity.pieces.after_first else {}
                piece = measure(index=number, **before)
                if quantity.pieces.lasting(piece):
                    job.save(f"{key}-{number}", piece)
            found.append(piece)
        return quantity.pieces.load()(found)

    def _joined(self, quantity: Quantity, results: Sequence[Result]) -> Mapping[str, Variable]:
        """The values of all points along t, and what follows from them; those of a single point as they are."""
        if not self._whole:
            return results[0].variables
        variables = stack(results, "t")
        tensors = [result.tensors for result in results]
        return variables | quantity.summarise({**variables, "t": self._positions}, tensors)

    def _along(self, quantity: Quantity, places: Places) -> Result:
        """What a path quantity finds that looks at no models."""
        positions = [t for t in self.ts if t is not None]
        options = quantity.arguments(self.of(quantity), self._sample(quantity, places))
        return quantity.load()(places.path, positions, **options)


def _keep(job: Job, key: str, result: Result) -> None:
    """Save what stands for all its layers and pieces, which go."""
    job.save(key, result)
    job.drop(f"{key}-")


def _only(variable: Variable) -> Variable:
    """The single entry of a variable over one position."""
    if variable.dims != ("t",):
        return variable
    return Variable((), np.asarray(variable.values[0]), variable.units, variable.long_name)
