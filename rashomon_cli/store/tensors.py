"""Tensors as safetensors, through the durable primitive (the library's own leaves files behind and skips fsync)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from rashomon_cli.core.errors import Damaged
from rashomon_cli.core.results import Array
from rashomon_cli.store import durable


def save(path: Path, tensors: Mapping[str, Array], header: Mapping[str, Any]) -> None:
    """Write named arrays durably.

    Args:
        path: the ``.safetensors`` file.
        tensors: arrays of any shape.
        header: JSON values kept in the file's metadata under ``rashomon``.

    Raises:
        OSError: if the disk refuses.
    """
    durable.write(path, encode(tensors, header))


def encode(tensors: Mapping[str, Array], header: Mapping[str, Any]) -> bytes:
    """Named arrays as the content of a safetensors file, the same for the same arrays.

    Args:
        tensors: arrays of any shape.
        header: JSON values kept in the file's metadata under ``rashomon``.

    Returns:
        The bytes.
    """
    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    metadata = {"format": "pt", "rashomon": json.dumps(dict(header), sort_keys=True)}
    return _ordered(safetensors.numpy.save(arrays, metadata=metadata))


def _ordered(content: bytes) -> bytes:
    """The same file with its metadata in one order: the library's differs from call to call, and so its SHA-256."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def load(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read named arrays.

    Args:
        path: a file whose SHA-256 was compared before, since safetensors has no checksum of its own.

    Returns:
        The arrays and the header.

    Raises:
        Damaged: if it is no safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("rashomon", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise Damaged(f"{path.name} of {path.parent.name} is no safetensors file: {error}", "restore it") from None
