"""Steps of a computation, each saved as one durable file, so that an interruption loses at most the step under way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store.locks import FolderLock

if TYPE_CHECKING:
    from rashomon_cli.core.results import Result


class Parts:
    """Saved steps by key.

    Args:
        folder: where they lie; made on the first save.
    """

    def __init__(self, folder: Path) -> None:
        self._parts_folder = folder

    def part(self, key: str) -> Result | None:
        """A step saved earlier, or None where there is none that can be read."""
        from rashomon_cli.store import hdf5

        try:
            return hdf5.load_part(self._parts_folder / f"{key}.h5")
        except (Damaged, FileNotFoundError):
            return None

    def has(self, key: str) -> bool:
        """Whether a step was saved, readable or not."""
        return (self._parts_folder / f"{key}.h5").exists()

    def save(self, key: str, result: Result) -> None:
        """Keep a step durably, replacing what was kept under the same key.

        Raises:
            OSError: if the disk refuses; the earlier content is intact then.
        """
        from rashomon_cli.store import hdf5

        self._parts_folder.mkdir(exist_ok=True)
        hdf5.save_part(self._parts_folder / f"{key}.h5", result)

    def drop(self, prefix: str) -> None:
        """Delete the steps whose keys begin so, as one that was saved stands for all of them.

        Raises:
            OSError: if the disk refuses.
        """
        for path in self._parts_folder.glob(f"{prefix}*.h5"):
            path.unlink()


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

    @property
    def key(self) -> str:
        """SHA-256 of the recipe, which is the folder's name."""
        return self._parts_folder.name
