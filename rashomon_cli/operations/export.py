"""``rashomon export``: a model as files that plain PyTorch loads, with a card that says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, RunName, argument, option
from rashomon_cli.core.results import Array
from rashomon_cli.operations import digests, subjects, weights
from rashomon_cli.operations.cards import card
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.sources import builders
from rashomon_cli.store import durable

_END = ".safetensors"


class ExportConfig(Config):
    """Options of ``export``."""

    run: RunName = argument("Model to export: a name, an id, or NAME@t on a path.", metavar="NAME")
    out: Path | None = option(None, "Folder, or a file that ends in .safetensors; default ./NAME.safetensors.")
    force: bool = option(False, "Replace files of other content.", flag="--force")


def export(context: Context, config: ExportConfig) -> list[Path]:
    """Write a model's state dict, its card and, where it was pruned, its mask.

    Args:
        context: the store.
        config: the options.

    Returns:
        The files: weights, mask if there is one, card.

    Raises:
        UsageError: if there is no such model, or no such folder.
        Refused: if a file of other content is there, or the model keeps no builder.
        Damaged: if a file of the run was altered.
    """
    subject = subjects.find(context, config.run, "model")
    builder, state = _load(context, subject)
    folder, stem = _place(config.out, subject)
    contents = {f"{stem}{_END}": digests.with_digest(state)}
    if (mask := _mask(subject)) is not None:
        contents[f"{stem}.mask{_END}"] = digests.with_digest(mask)
    document = card(context.store, subject, builder, contents)
    contents[f"{stem}.json"] = (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    changed = [name for name, content in contents.items() if not _is(folder / name, content)]
    if (there := [name for name in changed if (folder / name).exists()]) and not config.force:
        raise Refused(f"{folder / there[0]} is there already, with other content", "--force, or another --out")
    for name in changed:
        durable.write(folder / name, contents[name])
    return [folder / name for name in contents]


def _load(context: Context, subject: Subject) -> tuple[builders.Builder, dict[str, Array]]:
    """The builder of a model and its state dict; data are read only where BatchNorm statistics are computed anew.

    Raises:
        Refused: if the run keeps no model, or its weights do not fit it.
    """
    import torch

    record = subject.run.record
    if record.builder is None or record.data is None:
        raise Refused(f"run {subject.run.name} keeps no model", "rashomon ls")
    if subject.t is not None:
        device = context.torch_device()
        loaded = subjects.load_problem(context, subject.run, device)
        theta, buffers = subjects.load_model(context, loaded, subject, device)
        return loaded.builder, weights.pack(loaded.problem.module, loaded.problem.layout.split(theta) | buffers)
    builder, warning = builders.of_record(record.builder)
    if warning is not None:
        context.note(warning)
    module = builder.make(tuple(record.data["input_shape"]), int(record.data["num_classes"]))
    arrays = subject.run.tensors()
    named = weights.unpack(
        module,
        {name: array.shape for name, array in arrays.items()},
        lambda name: torch.from_numpy(np.array(arrays[name])),
        f"run {subject.run.name}",
        str(builder.spec),
    )
    return builder, weights.pack(module, named)


def _mask(subject: Subject) -> dict[str, Array] | None:
    """The pruning mask of a model run, where it has one."""
    run = subject.run
    has = subject.t is None and any(artifact.path == "mask.safetensors" for artifact in run.record.artifacts)
    return run.tensors("mask.safetensors") if has else None


def _place(out: Path | None, subject: Subject) -> tuple[Path, str]:
    """Folder, made where it does not exist, and the beginning of the file names.

    Raises:
        UsageError: if the folder is a file.
    """
    folder, stem = out or Path(), subject.label.replace("@", "-t")
    if folder.suffix == _END:
        folder, stem = folder.parent, folder.name.removesuffix(_END)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file", f"a folder, or a file that ends in {_END}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder, stem


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
