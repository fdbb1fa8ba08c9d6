"""``rashomon import``: weights from a file of the user's, with the model and data that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.operations import digests, problems, weights
from rashomon_cli.operations.cards import Deviation, Mean, statistics_beside
from rashomon_cli.operations.casts import Cast
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.origins import Origin
from rashomon_cli.operations.plan import Plan, Step, execute
from rashomon_cli.operations.states import space
from rashomon_cli.sources import checkpoints
from rashomon_cli.sources.arrays import Statistics
from rashomon_cli.store import Job, Run, Store, durable

if TYPE_CHECKING:
    from torch import Tensor


class ImportConfig(Config):
    """Options of ``import``."""

    file: Path = argument(
        "Weights: a .safetensors file, or a state dict as .pt, .pth, .bin or .ckpt.", metavar="FILE", names=None
    )
    model: str = option(..., "Builder of the module: a name, name(width=8), file.py:factory or module:factory.")
    data: str = option(..., "Data that it was trained on: digits, cifar10, folder:PATH, npz:PATH, module:factory.")
    loss: str = option("cross-entropy", "Loss: cross-entropy, mse, or module:function giving one value an example.")
    weight_decay: float = option(0.0, "L2 penalty of its training, for connect and probe.", ge=0)
    augment: Literal["auto", "crop-flip", "none"] = option("auto", "Augmentation of its training; auto: by the data.")
    mean: Mean | None = option(None, "Mean of each channel that images were normalised by, or one for all; in [0, 1].")
    std: Deviation | None = option(None, "Standard deviation of each channel, beside --mean; in (0, 1].")
    plain: bool = option(False, "Images were taken as they are, in [0, 1]: --mean 0 --std 1.", flag="--plain")
    mask: Path | None = option(None, "Pruning mask, as export writes it: it holds from now on.", reference=True)

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else (value,) if isinstance(value, int | float) else value


def import_(context: Context | Store, config: ImportConfig | None = None, /, **options: Any) -> Run:
    """Publish weights from a file as a run of kind ``model``; no code of the file is run.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        options: instead of ``config``: fields of :class:`ImportConfig` and of
            :class:`~rashomon_cli.operations.context.Where`.

    Returns:
        The run, newly made or found finished.

    Raises:
        UsageError: if a name or value does not exist.
        Refused: if the file is damaged, needs code to be run, or does not fit the model.
    """
    context, config = asked(context, ImportConfig, config, options)
    return execute(context, plan(context, config), name=context.where.name)


def plan(context: Context, config: ImportConfig) -> Plan:
    """Check an import as far as that goes without importing torch, and count what it takes.

    Raises:
        UsageError: if a name or value does not exist.
    """
    for path in (config.file, *([config.mask] if config.mask else [])):
        checkpoints.check_name(path)
    origin = Origin.of(context, config.model, config.data, config.loss)
    digest = durable.sha256(config.file)
    given = _given(config)
    statistics = given or statistics_beside(config.file, digest)
    files = {"file": digest} | ({"mask": durable.sha256(config.mask)} if config.mask else {})

    def load() -> problems.Loaded:
        decay, device = config.weight_decay, context.torch_device()
        loaded = origin.load(context, device=device, weight_decay=decay, statistics=statistics)
        if given and not loaded.data.is_images:
            words = f"--mean, --std and --plain are for images, {origin.source.spec} has none"
            raise UsageError(words, "leave them out")
        return loaded

    def steps() -> list[Step]:
        both = origin.source.load(context.store.cache)
        return [Step("figures on all data", len(both.x_train) + len(both.x_test))]

    return Plan(
        "import",
        {name: value for name, value in config.record().items() if name not in ("mean", "std", "plain")}
        | ({"mean": list(statistics[0]), "std": list(statistics[1])} if statistics else {})
        | origin.record
        | {"file": digest},
        suggestion=config.file.stem,
        told=(),
        steps=steps,
        problems={origin.name: load},
        carry_out=lambda job: _carry_out(context, config, job, load),
        fingerprints=files | origin.fingerprints,
    )


def _given(config: ImportConfig) -> Statistics | None:
    """Mean and standard deviation as asked for.

    Raises:
        UsageError: if there is one without the other, or they contradict.
    """
    if config.plain and (config.mean or config.std):
        raise UsageError("--plain is --mean 0 --std 1, and others are given", "leave out --plain, or --mean and --std")
    if bool(config.mean) != bool(config.std) or len(config.mean or ()) != len(config.std or ()):
        counts = " and ".join(str(len(values or ())) for values in (config.mean, config.std))
        raise UsageError(f"--mean and --std have {counts} numbers", "--mean 0.49,0.48,0.45 --std 0.25,0.24,0.26")
    if config.plain:
        return (0.0,), (1.0,)
    return (config.mean, config.std) if config.mean and config.std else None


def _carry_out(context: Context, config: ImportConfig, job: Job, load: Callable[[], problems.Loaded]) -> Run:
    from rashomon_cli.science import evaluation
    from rashomon_cli.science.problem import untrained

    checkpoint, mask_file = _read(config.file), _read(config.mask) if config.mask else None
    loaded = load()
    problem, module = loaded.problem, loaded.problem.module
    job.require(space(problem.layout))
    checkpoint = checkpoint.unwrapped(weights.aliases(module))
    cast = Cast(config.file.name, dict(module.named_buffers()) | module.state_dict(keep_vars=True))
    named = weights.unpack(
        module,
        checkpoint.shapes,
        lambda name: cast(name, checkpoint.read(name)),
        config.file.name,
        str(loaded.builder.spec),
    )
    theta = problem.layout.flatten(named)
    buffers = {name: named[name] for name in untrained(module)}
    mask = _mask(mask_file, loaded, theta) if mask_file else None
    context.note(f"the weights are those of {config.file.name}, SHA-256 {job.request.fingerprints['file']}")
    if checkpoint.prefix:
        context.note(f"the prefix {checkpoint.prefix} was taken off every name")
    for note in cast.notes:
        context.note(note)
    if loaded.data.is_images and not _given(config):
        mean, std = (",".join(f"{value:.4g}" for value in loaded.data_record[name]) for name in ("mean", "std"))
        whose = "its card says" if "mean" in job.request.config else f"the training images of {loaded.source.spec} are"
        context.note(f"images are normalised as {whose}: --mean {mean} --std {std}")
    splits = {split: loaded.batches(split) for split in ("train", "test")}
    context.progress.start("evaluate", sum(batches.steps for batches in splits.values()))
    final = {s: evaluation.evaluate(problem, theta, buffers, b, context.progress.tick) for s, b in splits.items()}
    return job.publish(
        "model",
        metrics={
            "train_loss": final["train"].loss,
            "train_accuracy": final["train"].accuracy,
            "test_loss": final["test"].loss,
            "test_accuracy": final["test"].accuracy,
            "cross_entropy_test": final["test"].cross_entropy,
            "parameters": problem.layout.total,
        },
        measurements={},
        tensor_files=weights.model_files(loaded, theta, buffers, mask),
        builder=loaded.builder.record(),
        data=loaded.data_record,
        **context.details(theta.device),
    )


def _read(path: Path) -> checkpoints.Checkpoint:
    """Names and shapes of a file; one that carries a digest is compared with it.

    Raises:
        Refused: if the file is damaged, was altered, or needs code to be run.
    """
    found = checkpoints.read(path)
    if path.suffix == ".safetensors":
        digests.check(path)
    return found


def _mask(found: checkpoints.Checkpoint, loaded: problems.Loaded, theta: Tensor) -> Tensor:
    """A pruning mask (P,).

    Raises:
        Refused: if it is not one of this model, or a weight that it calls gone is there.
    """
    layout, what = loaded.problem.layout, "the mask"
    shapes = dict(zip(layout.names, map(tuple, layout.shapes), strict=True))
    weights.check_fit(shapes, found.shapes, what, str(loaded.builder.spec))
    mask = layout.flatten({name: found.read(name).to(theta) for name in layout.names})
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise Refused(
            f"{what} holds more than zeros and ones", "give NAME.mask.safetensors, as rashomon export writes it"
        )
    if bool(theta[mask == 0].any()):
        raise Refused(
            f"{what} calls weights gone that are not zero", "give the mask that was exported with the weights"
        )
    return mask
