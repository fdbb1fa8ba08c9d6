"""The card of an exported model: what it is, where it came from, and how plain PyTorch loads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from rashomon_cli.operations.subjects import Subject
from rashomon_cli.sources.arrays import Statistics
from rashomon_cli.sources.builders import Builder
from rashomon_cli.store import Run, Store

FORMAT = 1
Mean = tuple[Annotated[float, Field(ge=0, le=1)], ...]
Deviation = tuple[Annotated[float, Field(gt=0, le=1)], ...]


class _Kept(BaseModel):
    """What is read of a card's data."""

    mean: Mean | None
    std: Deviation | None


def card(store: Store, subject: Subject, builder: Builder, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What a model is.

    Args:
        store: where its ancestors are.
        subject: the model.
        builder: of its module, as it is now.
        files: contents by file name, the weights first.

    Returns:
        JSON values; the same for the same model.
    """
    run, record = subject.run, subject.run.record
    data = record.data or {}
    weights = next(iter(files))
    module, expression = builder.code(tuple(data["input_shape"]), int(data["num_classes"]))
    return {
        "format": FORMAT,
        "what": "a model of the rashomon store: its state dict as safetensors, and a pruning mask where it was pruned",
        "id": run.id,
        "name": run.name,
        "t": subject.t,
        "operation": record.operation,
        "builder": builder.record(),
        "data": data,
        "input": _input(data),
        "loss": record.config["loss"],
        "metrics": run.metrics if subject.t is None else {},
        "lineage": lineage(store, run),
        "versions": record.versions,
        "exported_with": f"rashomon {version('rashomon-cli')}",
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
        "needs": _needs(builder, module),
        "load": [
            f"import {module}, safetensors.torch",
            f"module = {expression}.eval()",
            f"module.load_state_dict(safetensors.torch.load_file({weights!r}))",
        ],
    }


def statistics_beside(weights: Path, sha256: str) -> Statistics | None:
    """What the images of exported weights are normalised by, as the card beside the file says.

    Args:
        weights: the file.
        sha256: of its content: the card names it, or is another file's.

    Returns:
        Mean and standard deviation of each channel; None where there is no card, or the data are no images.
    """
    try:
        found = json.loads(weights.with_suffix(".json").read_bytes())
        of_file = any(entry["sha256"] == sha256 for entry in found["files"].values())
        kept = _Kept.model_validate(found["data"]) if of_file else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (kept.mean, kept.std) if kept and kept.mean and kept.std else None


def lineage(store: Store, run: Run) -> list[dict[str, Any]]:
    """A run and its ancestors, each once, the run first; of one that is gone only the id is known."""
    runs = {found.id: found for found in store.runs()} | {run.id: run}
    order = [run.id]
    for key in order:
        parents = runs[key].record.parents if key in runs else []
        order += [parent.id for parent in parents if parent.id not in order]
    return [
        {
            "id": key,
            "operation": runs[key].record.operation if key in runs else None,
            "parents": [
                {"id": parent.id, "role": parent.role, "t": parent.t}
                for parent in (runs[key].record.parents if key in runs else [])
            ],
        }
        for key in order
    ]


def _needs(builder: Builder, module: str) -> str:
    """What must be there for the lines that load the model."""
    if builder.path is not None:
        return f"the file {builder.path.name}, SHA-256 {builder.sha256}, at the place that the second line names"
    if builder.sha256 is not None:
        return f"the module {module}, whose file has the SHA-256 {builder.sha256}"
    own = f"rashomon-cli {version('rashomon-cli')}"
    return f"the package {builder.package or own}"


def _input(data: Mapping[str, Any]) -> str:
    """How what goes into the module is made from the data."""
    if data["mean"]:
        return "images as float32 (N, channels, height, width): (pixel / 255 - mean) / std of each channel"
    return f"arrays of the shape (N, {', '.join(map(str, data['input_shape']))}), as they are"
