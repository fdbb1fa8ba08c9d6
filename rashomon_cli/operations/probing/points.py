"""Where a probe measures: a model as it was stored, points of a path, models beside it; and on which examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.predictions import Fitted, Images
from rashomon_cli.operations.quantities.quantity import Samples

if TYPE_CHECKING:
    import torch

    from rashomon_cli.science.paths import Path
    from rashomon_cli.science.problem import Point
    from rashomon_cli.sources.batches import Batches


@dataclass(frozen=True)
class Sample:
    """The :class:`~rashomon_cli.operations.quantities.quantity.Sampler` of a loaded problem.

    Attributes:
        loaded: the problem.
        seed: of the probe.
        images: other data, where a quantity names them.
    """

    loaded: problems.Loaded
    seed: int
    images: Images | None = None

    def __call__(self, split: str, samples: Samples, batches: int = 1) -> Batches:
        """A sample of a split, the same for the same seed."""
        count = None if samples == "all" else samples
        found = self.loaded.batches(split).sample(count, self.seed, f"{split} sample")
        return replace(found, batch_size=max(1, min(found.batch_size, -(-found.count // batches))))

    def other(self) -> Fitted | None:
        """The other data, resized and normalised for the model."""
        if self.images is None:
            return None
        own = self.loaded.batches("test")
        return Fitted(self.images, self.loaded.data_record, own.x.device, own.dtype)


@dataclass(frozen=True)
class Places:
    """Where one probe measures.

    Attributes:
        context: store and circumstances.
        loaded: the problem of the subject.
        subject: a model, a path, or NAME@t.
        path: None of a model.
        device: that computes.
        refresh_samples: training examples for the BatchNorm statistics of a point.
        seed: of the probe.
        float64: whether to measure in double precision.
    """

    context: Context
    loaded: problems.Loaded
    subject: subjects.Subject
    path: Path | None
    device: torch.device
    refresh_samples: Samples
    seed: int
    float64: bool

    @classmethod
    def of(
        cls, context: Context, subject: subjects.Subject, refresh_samples: Samples, seed: int, float64: bool
    ) -> Places:
        """Load the problem of a run, and its path.

        Raises:
            Damaged: if a file was altered.
            Refused: if what is stored no longer fits.
        """
        device = context.torch_device()
        loaded = subjects.load_problem(context, subject.run, device, float64)
        path = subjects.load_path(context, loaded, subject.run, device) if subject.run.kind == "path" else None
        return cls(context, loaded, subject, path, device, refresh_samples, seed, float64)

    def at(self, t: float | None) -> Point:
        """The model as it was stored, or a point of the path with BatchNorm statistics and directions of its own."""
        from rashomon_cli.science import paths
        from rashomon_cli.science.problem import Point, fresh_buffers

        if self.path is None or t is None:
            theta, buffers = subjects.load_model(self.context, self.loaded, self.subject, self.device)
            return Point(theta, buffers)
        path, problem = self.path, self.loaded.problem
        point = self._refreshed(self.loaded, Point(path.at(t), fresh_buffers(problem.module)))
        along = paths.directions(path, t), path.tangent(t), path.acceleration(t)
        return Point(point.theta, point.buffers, t, *along)

    def beside(self, model: subjects.Subject) -> tuple[problems.Loaded, Point]:
        """A model beside the path, with its own problem and with BatchNorm refreshed as on the path.

        Raises:
            Damaged: if a file was altered.
            Refused: if what is stored no longer fits.
        """
        from rashomon_cli.science.problem import Point

        loaded = self.loaded
        if (
            subjects.problems_of(self.context, model.run).keys()
            != subjects.problems_of(self.context, self.subject.run).keys()
        ):
            loaded = subjects.load_problem(self.context, model.run, self.device, self.float64)
        return loaded, self._refreshed(loaded, Point(*subjects.load_model(self.context, loaded, model, self.device)))

    def _refreshed(self, loaded: problems.Loaded, point: Point) -> Point:
        from rashomon_cli.science.batchnorm import refresh

        sample = Sample(loaded, self.seed)("train", self.refresh_samples)
        tick = self.context.progress.tick
        return replace(point, buffers=refresh(loaded.problem, point.theta, point.buffers, sample, tick))
