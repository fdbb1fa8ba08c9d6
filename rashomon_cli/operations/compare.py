"""``rashomon compare``: how alike models predict on data that they were not trained on."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.core.results import Array, Variable, series
from rashomon_cli.core.seeds import derive
from rashomon_cli.core.specs import Reference
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context, DryRun
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.sources import builders, data
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    import torch

Point = tuple["torch.Tensor", Mapping[str, "torch.Tensor"]]


class CompareConfig(Config):
    """Options of ``compare``."""

    models: tuple[str, ...] = argument("Names, ids or NAME@t; all of one number of classes if left out.", default=())
    ood: str = option("mnist", "Data whose test split to predict on; several, separated by commas, in one run.")
    samples: Annotated[int, Field(ge=2)] | Literal["all"] = option(
        "all", "Images of each test split, a fixed random choice, or all.", unit="images"
    )
    order: Literal["family", "cluster"] = option("family", "Order of the models: by root anchor, or like beside like.")
    seed: int = option(0, "Seed of the shuffled floor and of the choice of images.", ge=0)


@dataclass(frozen=True, eq=False)
class _Images:
    """What every model predicts on: inputs (n, …), and what determines them."""

    spec: str
    fingerprint: str
    inputs: Array
    are_images: bool
    choice: str


Known = dict[tuple[Subject, _Images | None], Array]
Work = tuple[Subject, _Images | None, int]


def compare(context: Context, config: CompareConfig) -> Run | DryRun:
    """Compare the predictions of every pair of models and publish a run of kind ``comparison``.

    Args:
        context: store and circumstances.
        config: the options.

    Returns:
        The run, newly made or found finished; or the steps of a dry run.

    Raises:
        UsageError: if a name or value does not exist, or there are fewer than two models.
        Refused: if the models have different outputs, or the data do not fit them.
        Damaged: if a model's file was altered.
    """
    texts = dict.fromkeys(text.strip() for text in re.split(r",(?![^()]*\))", config.ood))
    sources = [data.resolve(text, context.where.data_root) for text in texts]
    chosen = _chosen(context, config.models)
    runs = {run.id: run for run in context.store.runs()}
    roots = {subject.run.id: _root(subject.run, runs) for subject in chosen}
    models = sorted(chosen, key=lambda s: (roots[s.run.id][0], s.run.id, s.t or 0.0))
    sets = [_images(source, source.load(context.store.cache), config) for source in sources]
    for images, subject in itertools.product(sets, models):
        _check_input(images, subject)
    if context.where.dry_run:
        return _plan(context, models, sets)
    job = context.store.begin(
        "compare",
        config.record(),
        parents=[subject.parent("model") for subject in models],
        fingerprints={f"ood:{source.spec}": source.fingerprint for source in sources},
        name=context.where.name,
        suggestion=f"compare-{sources[0].spec.target.rpartition(':')[2].rpartition('/')[2]}",
        again=context.where.again,
    )
    if isinstance(job, Run):
        return job
    with job:
        return _carry_out(context, config, job, models, [roots[s.run.id][1] for s in models], sets)


def _carry_out(
    context: Context, config: CompareConfig, job: Job, models: list[Subject], families: list[str], sets: list[_Images]
) -> Run:
    from rashomon_cli.science import similarity

    device = context.torch_device()
    found = _sweep(context, models, sets, device)
    try:
        compared = [similarity.similarity([found[s, images] for s in models], config.seed) for images in sets]
    except ValueError as error:
        raise Refused(f"the models' outputs cannot be compared: {error}", "name models of one shape") from error
    clusters = config.order == "cluster"
    places = similarity.cluster_order(compared[0]["cosine"].values) if clusters else [*range(len(models))]
    placed = [models[place] for place in places]
    names = [subject.label for subject in placed]
    figures = np.stack([found[subject, None] for subject in placed])
    about = {
        "model": series("model", names, "1", "model"),
        "other": series("other", names, "1", "other model"),
        "run": series("model", [subject.run.id for subject in placed], "1", "run of the model"),
        "family": series("model", [families[place] for place in places], "1", "root anchor of the model"),
        "test_loss": series("model", figures[:, 0], "nat", "loss on the model's own test examples"),
        "test_accuracy": series("model", figures[:, 1], "1", "accuracy on the model's own test examples"),
    }
    return job.publish(
        "comparison",
        metrics=similarity.headline(compared[0]),
        measurements={
            images.spec.replace("/", "_"): about | {name: _placed(v, places) for name, v in matrices.items()}
            for images, matrices in zip(sets, compared)
        },
        seeds={"seed": config.seed},
        **context.details(device),
    )


def _placed(found: Variable, places: list[int]) -> Variable:
    """A matrix with its models in another order."""
    at = np.ix_(places, places)
    return replace(found, values=found.values[at], stderr=None if found.stderr is None else found.stderr[at])


def _chosen(context: Context, names: Sequence[str]) -> list[Subject]:
    """The models named, each once, or the store's largest group with one number of classes.

    Raises:
        UsageError: if a name is wrong, or there are fewer than two models.
        Refused: if they do not all predict the same number of classes.
    """
    if names:
        found = [subjects.find(context, text, "model") for text in names]
        for subject in found:
            if subject.run.record.data is None or subject.run.record.data["regression"]:
                raise Refused(f"{subject.run.name} does not classify", "compare takes models that predict classes")
        chosen = list({(subject.run.id, subject.t): subject for subject in found}.values())
        if len(classes := {_data(subject.run)["num_classes"]: subject.label for subject in chosen}) > 1:
            which = ", ".join(f"{label} has {count}" for count, label in sorted(classes.items()))
            raise Refused(f"the models have different numbers of classes: {which}", "name models of one number")
    else:
        runs = [run for run in context.store.runs() if run.kind == "model" and run.record.data is not None]
        able = [run for run in runs if not _data(run)["regression"]]
        counts = [_data(run)["num_classes"] for run in able]
        most = max(reversed(counts), key=counts.count, default=None)
        chosen = [Subject(run, Reference(run.name)) for run, count in zip(able, counts) if count == most]
        skipped = [run.name for run in runs if run.id not in {subject.run.id for subject in chosen}]
        if skipped:
            listed = ", ".join(skipped[:5] + ["…"] * (len(skipped) > 5))
            context.note(f"compared are the models of {most} classes; skipped {len(skipped)}: {listed}")
    if len(chosen) < 2:
        raise UsageError(f"compare needs two models of one number of classes, not {len(chosen)}", "rashomon ls")
    return chosen


def _root(run: Run, runs: Mapping[str, Run]) -> tuple[str, str]:
    """Id and name of a model's root anchor: its first parent, and so on up; a path is a root itself."""
    while run.kind == "model" and run.record.parents:
        parent = run.record.parents[0].id
        if parent not in runs:
            return parent, parent
        run = runs[parent]
    return run.id, run.name


def _images(source: data.Source, found: data.Data, config: CompareConfig) -> _Images:
    inputs, choice = found.x_test, "all"
    if config.samples != "all" and config.samples < len(inputs):
        chooser = np.random.default_rng(derive(config.seed, "images to compare on"))
        inputs = inputs[np.sort(chooser.permutation(len(inputs))[: config.samples])]
        choice = f"{config.samples} by seed {config.seed}"
    return _Images(str(source.spec), source.fingerprint, inputs, found.is_images, choice)


def _check_input(images: _Images, subject: Subject) -> None:
    """Refuse data that a model cannot take.

    Raises:
        Refused: naming the data and the model.
    """
    kept, shape = _data(subject.run), list(images.inputs.shape[1:])
    if len(images.inputs) < 2:
        raise Refused(f"the test split of {images.spec} has fewer than two examples", f"--ood {kept['spec']}")
    if images.are_images != bool(kept["mean"]) or not (images.are_images or shape == kept["input_shape"]):
        takes = "images" if kept["mean"] else f"numbers of the shape {tuple(kept['input_shape'])}"
        raise Refused(f"{images.spec} does not fit {subject.label}, which takes {takes}", f"--ood {kept['spec']}")


def _missing(context: Context, models: Sequence[Subject], sets: Sequence[_Images]) -> tuple[Known, list[Work]]:
    """What is known of each model on each set and on its own test examples (None), and what is not."""
    known: Known = {}
    missing: list[Work] = []
    for subject, images in itertools.product(models, [*sets, None]):
        figures = [subject.run.metrics.get(name) for name in ("test_loss", "test_accuracy")]
        if images is None and subject.t is None and None not in figures:
            known[subject, images] = np.array(figures)
        elif (arrays := context.store.cache.load(_key(context, subject, images))) is not None:
            known[subject, images] = arrays["values"]
        else:
            count = _data(subject.run)["test_count"] if images is None else len(images.inputs)
            missing.append((subject, images, count))
    return known, missing


def _plan(context: Context, models: Sequence[Subject], sets: Sequence[_Images]) -> DryRun:
    steps: Counter[str] = Counter({f"predictions on {images.spec}": 0 for images in sets})
    for _, images, count in _missing(context, models, sets)[1]:
        steps[f"predictions on {images.spec}" if images else "figures on the models' own test examples"] += count
    return DryRun(steps)


def _sweep(context: Context, models: list[Subject], sets: list[_Images], device: torch.device) -> Known:
    """Outputs (n, C), float32, of each model on each set; loss and accuracy (2,) on its own test examples (None).

    Models of one builder and data come one after the other, so that one problem at a time is in memory.

    Raises:
        Refused: if outputs are not finite, or a model no longer fits its builder and data.
    """
    from rashomon_cli.science.evaluation import evaluate

    found, missing = _missing(context, models, sets)
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
                    values = _predict(context, loaded, point, images, _data(subject.run))
                if not np.isfinite(values).all():
                    raise Refused(f"{subject.label} gives outputs that are not finite", "name models without it")
                context.store.cache.save(_key(context, subject, images), {"values": values})
                found[subject, images] = values
    return found


def _predict(context: Context, loaded: problems.Loaded, point: Point, images: _Images, kept: dict[str, Any]) -> Array:
    """Outputs (n, C) of a model on images resized to its input and normalised by its training statistics."""
    import torch

    from rashomon_cli.science.evaluation import predict
    from rashomon_cli.sources.batches import Batches, fit_images

    parts = []
    for start in range(0, len(images.inputs), problems.EVALUATION_BATCH):
        x = torch.tensor(images.inputs[start : start + problems.EVALUATION_BATCH], device=point[0].device)
        if images.are_images:
            x = fit_images(x, kept["input_shape"])
        batch = Batches(x, torch.zeros(len(x)), len(x), kept["mean"], kept["std"], len(x))
        parts.append(predict(loaded.problem, *point, batch))
        context.progress.tick()
    return torch.cat(parts).numpy()


def _key(context: Context, subject: Subject, images: _Images | None) -> str:
    """The cache's key of a model's predictions on images, or of its figures on its own test examples (None)."""
    record, parent = subject.run.record, subject.parent("model")
    assert record.builder is not None
    builder, warning = builders.of_record(record.builder)
    if warning:
        context.note(warning)
    what = [_data(subject.run)["fingerprint"]] if images is None else [images.fingerprint, images.choice]
    text = json.dumps([parent.id, parent.sha256, parent.t, builder.sha256, *what])
    return f"{'figures' if images is None else 'predictions'}-{hashlib.sha256(text.encode()).hexdigest()}"


def _problem_of(subject: Subject) -> str:
    record = subject.run.record
    return json.dumps([record.builder, record.data, record.config.get("loss")], sort_keys=True)


def _data(run: Run) -> dict[str, Any]:
    assert run.record.data is not None
    return run.record.data
