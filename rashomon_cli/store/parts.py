"""Steps of a computation, each saved as one durable file, so that an interruption loses at most the step under way."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from rashomon_cli.core.errors import Damaged
from rashomon_cli.core.results import Result
from rashomon_cli.store import hdf5
from rashomon_cli.store.locks import FolderLock


class Parts:
    """Saved steps by key.

    Args:
        folder: where they lie; made on the first save.
    """

    def __init__(self, folder: Path) -> None:
        self._parts_folder = folder

    def part(self, key: str) -> Result | None:
        """A step saved earlier, or None where there is none that can be read."""
        path = self._parts_folder / f"{key}.h5"
        if not path.exists():
            return None
        try:
            return hdf5.load_part(path)
        except Damaged:
            return None

    def save(self, key: str, result: Result) -> None:
        """Keep a step durably, replacing what was kept under the same key.

        Raises:
            OSError: if the disk refuses; the earlier content is intact then.
        """
        self._parts_folder.mkdir(exist_ok=True)
        hdf5.save_part(self._parts_folder / f"{key}.h5", result)


class LockedParts(Parts):
    """Saved steps that only this process may change, until the ``with`` block ends; what was saved stays.

    Args:
        folder: where they lie.
        lock: held on the folder.
    """

    def __init__(self, folder: Path, lock: FolderLock) -> None:
        super().__init__(folder)
        self._lock = lock

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """Give the lock back."""
        self.release()

    def release(self) -> None:
        """Give the lock back; harmless when already done."""
        self._lock.release()


class Stage(LockedParts):
    """Steps that several runs share."""
