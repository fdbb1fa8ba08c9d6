"""``rashomon compare``: how alike models predict on data that they were not trained on."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, RunName, argument, option
from rashomon_cli.core.results import Variable, series
from rashomon_cli.core.specs import Reference, split_list
from rashomon_cli.operations import subjects
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.plan import Plan, Step, execute
from rashomon_cli.operations.predictions import Images, check_input, data_of, images_of, missing_of, sweep
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.sources import data
from rashomon_cli.store import Job, Run, Store


def _joined(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


class CompareConfig(Config):
    """Options of ``compare``."""

    models: tuple[RunName, ...] = argument(
        "Names, ids or NAME@t; if left out, all of one number of classes.", default=()
    )
    ood: Annotated[str, BeforeValidator(_joined)] = option(
        "mnist", "Data whose test split to predict on; several, separated by commas, in one run."
    )
    samples: Annotated[int, Field(ge=2)] | Literal["all"] = option(
        "all", "Images of each test split, a fixed random choice, or all.", unit="images"
    )
    order: Literal["family", "cluster"] = option("family", "Order of the models: by root anchor, or like beside like.")
    seed: int = option(0, "Seed of the shuffled floor and of the choice of images.", ge=0)


def compare(context: Context | Store, config: CompareConfig | None = None, /, **options: Any) -> Run:
    """Compare the predictions of every pair of models and publish a run of kind ``comparison``.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        options: instead of ``config``: fields of :class:`CompareConfig` and of
            :class:`~rashomon_cli.operations.context.Where`; ``models`` may be runs.

    Returns:
        The run, newly made or found finished.

    Raises:
        UsageError: if a name or value does not exist, or there are fewer than two models.
        Refused: if the models have different outputs, or the data do not fit them.
        Damaged: if a model's file was altered.
    """
    context, config = asked(context, CompareConfig, config, options)
    return execute(context, plan(context, config), name=context.where.name)


def plan(context: Context, config: CompareConfig) -> Plan:
    """Choose the models and read the data without importing torch, and count what it takes.

    Raises:
        UsageError: if a name or value does not exist, or there are fewer than two models.
        Refused: if the models have different outputs, or the data do not fit them.
    """
    texts = dict.fromkeys(split_list(config.ood))
    sources = [context.source(text) for text in texts]
    chosen = _chosen(context, config.models)
    runs = {run.id: run for run in context.store.runs()}
    roots = {subject.run.id: _root(subject.run, runs) for subject in chosen}
    models = sorted(chosen, key=lambda s: (roots[s.run.id][0], s.run.id, s.t or 0.0))
    sets = [images_of(source, source.load(context.store.cache), config.samples, config.seed) for source in sources]
    for images, subject in itertools.product(sets, models):
        check_input(images, subject)
    families = [roots[subject.run.id][1] for subject in models]
    return Plan(
        "compare",
        config.record() | {"ood": ",".join(str(source.spec) for source in sources)},
        suggestion=f"compare-{sources[0].spec.target.rpartition(':')[2].rpartition('/')[2]}",
        told=(),
        steps=lambda: _steps(context, models, sets),
        problems={name: load for s in models for name, load in subjects.problems_of(context, s.run).items()},
        carry_out=lambda job: _carry_out(context, config, job, models, families, sets),
        parents=[subject.parent("model") for subject in models],
        fingerprints=_fingerprints(sources),
    )


def _fingerprints(sources: Sequence[data.Source]) -> dict[str, str]:
    """Digests by name; files of one name in two folders have a number besides."""
    found: dict[str, str] = {}
    for number, source in enumerate(sources):
        name = f"ood:{source.spec}"
        found[f"{name} {number}" if name in found else name] = source.fingerprint
    return found


def _carry_out(
    context: Context, config: CompareConfig, job: Job, models: list[Subject], families: list[str], sets: list[Images]
) -> Run:
    from rashomon_cli.science import similarity

    device = context.torch_device()
    found = sweep(context, models, sets, device)
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
        if len(classes := {data_of(subject.run)["num_classes"]: subject.label for subject in chosen}) > 1:
            which = ", ".join(f"{label} has {count}" for count, label in sorted(classes.items()))
            raise Refused(f"the models have different numbers of classes: {which}", "name models of one number")
    else:
        runs = [run for run in context.store.runs() if run.kind == "model" and run.record.data is not None]
        able = [run for run in runs if not data_of(run)["regression"]]
        counts = [data_of(run)["num_classes"] for run in able]
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
    """Id and name of a model's root anchor: its first parent, and so on up; a path or a hub is a root itself.

    An aligned model computes what the model does that was moved, its parent ``b``.
    """
    while run.kind == "model" and run.record.parents and run.record.operation != "connect":
        role = "b" if run.record.operation == "align" else run.record.parents[0].role
        parent = next(each.id for each in run.record.parents if each.role == role)
        if parent not in runs:
            return parent, parent
        run = runs[parent]
    return run.id, run.name


def _steps(context: Context, models: Sequence[Subject], sets: Sequence[Images]) -> list[Step]:
    names = {subject.run.id: next(iter(subjects.problems_of(context, subject.run))) for subject in models}
    passes: Counter[tuple[str, str]] = Counter()
    passes.update({(f"predictions on {images.spec}", names[models[0].run.id]): 0 for images in sets})
    for subject, images, count in missing_of(context, models, sets)[1]:
        title = f"predictions on {images.spec}" if images else "figures on the models' own test examples"
        passes[title, names[subject.run.id]] += count
    return [Step(title, count, problem=problem) for (title, problem), count in passes.items()]
