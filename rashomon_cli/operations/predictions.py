"""Predictions of models on data that they were not trained on: one sweep of inference a model, kept in the cache."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.sources import builders, data
from rashomon_cli.store import Run

if TYPE_CHECKING:
    import torch

    from rashomon_cli.sources.batches import Batches

Point = tuple["torch.Tensor", Mapping[str, "torch.Tensor"]]


@dataclass(frozen=True, eq=False)
class Images:
    """What every model predicts on: inputs (n, …), and what determines them: the data's content, and the choice."""

    spec: str
    content: str
    inputs: Array
    are_images: bool
    choice: str


@dataclass(frozen=True, eq=False)
class Fitted:
    """Other data as a model takes them, a batch at a time: images resized to its input, normalised as it was trained.

    It iterates as science's batches do; the targets are 0.

    Attributes:
        images: the data.
        kept: what the model's run keeps of its own data.
        device: where batches are made.
        dtype: type of the inputs that are handed out.
    """

    images: Images
    kept: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype

    @property
    def count(self) -> int:
        """Number of inputs."""
        return len(self.images.inputs)

    @property
    def population(self) -> int:
        """Number of inputs: these are all."""
        return self.count

    @property
    def steps(self) -> int:
        """Number of batches."""
        return -(-self.count // problems.EVALUATION_BATCH)

    def batch(self, rows: slice) -> Batches:
        """Some of the inputs."""
        import torch

        from rashomon_cli.sources.batches import Batches, fit_images

        x = torch.tensor(self.images.inputs[rows], device=self.device)
        if self.images.are_images:
            x = fit_images(x, self.kept["input_shape"])
        targets = torch.zeros(len(x), device=self.device)
        return Batches(x, targets, len(x), self.kept["mean"], self.kept["std"], len(x), self.dtype)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield inputs (B, …) and zeros (B,)."""
        for start in range(0, self.count, problems.EVALUATION_BATCH):
            yield from self.batch(slice(start, start + problems.EVALUATION_BATCH))


Known = dict[tuple[Subject, Images | None], Array]
Work = tuple[Subject, Images | None, int]


def images_of(source: data.Source, found: data.Data, samples: int | Literal["all"], seed: int) -> Images:
    """The test examples of a source, or a fixed random choice of them."""
    inputs, choice = found.x_test, "all"
    if samples != "all" and samples < len(inputs):
        chooser = np.random.default_rng(derive(seed, "images to compare on"))
        inputs = inputs[np.sort(chooser.permutation(len(inputs))[:samples])]
        choice = f"{samples} by seed {seed}"
    return Images(str(source.given or source.spec), found.content, inputs, found.is_images, choice)


def check_input(images: Images, subject: Subject, flag: str = "--ood") -> None:
    """Refuse data that a model cannot take.

    Args:
        images: the data.
        subject: the model, or a path.
        flag: the option that names the data, for the hint.

    Raises:
        Refused: naming the data and the model.
    """
    kept, shape = data_of(subject.run), list(images.inputs.shape[1:])
    if len(images.inputs) < 2:
        raise Refused(f"the test split of {images.spec} has fewer than two examples", f"{flag} {kept['spec']}")
    kind = np.dtype(kept.get("dtype", images.inputs.dtype)).kind  # runs of the first versions do not say
    same = shape == kept["input_shape"] and (images.inputs.dtype.kind == "f") == (kind == "f")
    if images.are_images != bool(kept["mean"]) or not (images.are_images or same):
        numbers = f"{'real numbers' if kind == 'f' else 'integers'} of the shape {tuple(kept['input_shape'])}"
        takes = "images" if kept["mean"] else numbers
        raise Refused(f"{images.spec} does not fit {subject.label}, which takes {takes}", f"{flag} {kept['spec']}")


def missing_of(context: Context, models: Sequence[Subject], sets: Sequence[Images]) -> tuple[Known, list[Work]]:
    """What is known of each model on each set and on its own test examples (None), and what is not."""
    known: Known = {}
    missing: list[Work] = []
    for subject, images in itertools.product(models, [*sets, None]):
        figures = [subject.run.metrics.get(name) for name in ("test_loss", "test_accuracy")]
        whole = subject.run.record.config.get("samples", "all") == "all"
        if images is None and subject.t is None and whole and None not in figures:
            known[subject, images] = np.array(figures)
        elif (arrays := context.store.cache.load(_key(context, subject, images))) is not None:
            known[subject, images] = arrays["values"]
        else:
            count = data_of(subject.run)["test_count"] if images is None else len(images.inputs)
            missing.append((subject, images, count))
    return known, missing


def sweep(context: Context, models: list[Subject], sets: list[Images], device: torch.device) -> Known:
    """Outputs (n, C), float32, of each model on each set; loss and accuracy (2,) on its own test examples (None).

    Models of one builder and data come one after the other, so that one problem at a time is in memory.

    Raises:
        Refused: if outputs are not finite, or a model no longer fits its builder and data.
    """
    from rashomon_cli.science.evaluation import evaluate

    found, missing = missing_of(context, models, sets)
    context.progress.start("predict", sum(-(-count // problems.EVALUATION_BATCH) for _, _, count in missing))
    missing.sort(key=lambda item: _problem_of(item[0]))
    for _, items in itertools.groupby(missing, lambda item: _problem_of(item[0])):
        loaded = None
        for subject, part in itertools.groupby(items, lambda item: item[0]):
            loaded = loaded or subjects.load_problem(context, subject.run, device)
            point = subjects.load_model(context, loaded, subject, device)
            for _, images, _ in part:
                if images is None:
                    own = evaluate(loaded.problem, *point, loaded.problem.test, context.progress.tick)
                    values = np.array([own.loss, own.accuracy])
                else:
                    values = _predict(context, loaded, point, images, subject)
                if not np.isfinite(values).all():
                    raise Refused(f"{subject.label} gives outputs that are not finite", "name models without it")
                # Of data that are no longer those of the run the figures are not the run's.
                if images is not None or not subjects.changed_content(subject.run, loaded.data):
                    context.store.cache.save(_key(context, subject, images), {"values": values})
                found[subject, images] = values
    return found


def _predict(context: Context, loaded: problems.Loaded, point: Point, images: Images, subject: Subject) -> Array:
    """Outputs (n, C) of a model on images resized to its input and normalised by its training statistics.

    Raises:
        Refused: if the model fails on them, as on a token that it has no embedding for.
        OutOfMemoryError: if they need more memory than the device has.
    """
    import torch

    from rashomon_cli.science.evaluation import predict

    parts, kept = [], data_of(subject.run)
    fitted = Fitted(images, kept, point[0].device, torch.float32)
    for start in range(0, len(images.inputs), problems.EVALUATION_BATCH):
        batch = fitted.batch(slice(start, start + problems.EVALUATION_BATCH))
        try:
            parts.append(predict(loaded.problem, *point, batch))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise Refused(f"{subject.label} fails on {images.spec}: {error}", f"--ood {kept['spec']}") from error
        context.progress.tick()
    return torch.cat(parts).numpy()


def _key(context: Context, subject: Subject, images: Images | None) -> str:
    """The cache's key of a model's predictions on images, or of its figures on its own test examples (None)."""
    record, parent = subject.run.record, subject.parent("model")
    assert record.builder is not None
    builder, warning = builders.of_record(record.builder)
    if warning:
        context.note(warning)
    kept = data_of(subject.run)
    what = [kept["fingerprint"], kept.get("content")] if images is None else [images.content, images.choice]
    text = json.dumps([parent.id, parent.sha256, parent.t, builder.sha256, *what])
    return f"{'figures' if images is None else 'predictions'}-{hashlib.sha256(text.encode()).hexdigest()}"


def _problem_of(subject: Subject) -> str:
    record = subject.run.record
    return json.dumps([record.builder, record.data, record.config.get("loss")], sort_keys=True)


def data_of(run: Run) -> dict[str, Any]:
    """What a model run keeps of its data."""
    assert run.record.data is not None
    return run.record.data
