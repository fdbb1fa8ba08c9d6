"""Decoded data and predictions in ``cache/``: each entry carries the digest of its content and is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rashomon_cli.core.errors import Damaged
from rashomon_cli.core.results import Array
from rashomon_cli.store import tensors


class FolderCache:
    """An :class:`~rashomon_cli.core.cache.ArrayCache` in a folder.

    Args:
        folder: made on the first save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str) -> dict[str, Array] | None:
        """The arrays kept under a key, or None where there are none or they are damaged."""
        try:
            arrays, header = tensors.load(self._path(key))
        except (Damaged, OSError):
            return None
        return arrays if header.get("sha256") == digest(arrays) else None

    def save(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays under a key.

        Raises:
            OSError: if the disk refuses.
        """
        self.folder.mkdir(exist_ok=True)
        tensors.save(self._path(key), arrays, {"sha256": digest(arrays)})

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def digest(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over names, shapes, types and bytes of arrays."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
