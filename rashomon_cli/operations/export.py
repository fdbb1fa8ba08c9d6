"""``rashomon export``: a model as files that plain PyTorch loads, with a card that says what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, RunName, argument, option
from rashomon_cli.core.results import Array
from rashomon_cli.operations import digests, modules, subjects
from rashomon_cli.operations.cards import card
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.store import Store, durable

_END = ".safetensors"


class ExportConfig(Config):
    """Options of ``export``."""

    run: RunName = argument("Model to export: a name, an id, or NAME@t on a path.", metavar="NAME")
    out: Path | None = option(None, "Folder, or a file that ends in .safetensors; default ./NAME.safetensors.")
    force: bool = option(False, "Replace files of other content.", flag="--force")


def export(context: Context | Store, config: ExportConfig | None = None, /, **options: Any) -> list[Path]:
    """Write a model's state dict, its card and, where it was pruned, its mask.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        options: instead of ``config``: its fields; ``run`` may be a run.

    Returns:
        The files: weights, mask if there is one, card.

    Raises:
        UsageError: if there is no such model, or no such folder.
        Refused: if a file of other content is there, or the model keeps no builder.
        Damaged: if a file of the run was altered.
    """
    context, config = asked(context, ExportConfig, config, options)
    subject = subjects.find(context, config.run, "model")
    builder, _, state = modules.load(context, subject)
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
