"""Kernel locks on folders: they vanish with their process, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRIES = 4
_PAUSE_S = 0.05


class FolderLock:
    """A ``flock`` on a folder, held until :meth:`release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, folder: Path, *, wait: bool, shared: bool = False) -> FolderLock | None:
        """Lock a folder.

        Args:
            folder: an existing folder.
            wait: wait for another holder, or return None at once.
            shared: let others have a shared lock at the same time.

        Returns:
            The lock, or None where another process holds it.

        Raises:
            FileNotFoundError: if the folder is gone, even when it went while it was waited for.
        """
        kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        while True:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, kind)
                if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                    return cls(descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # what was locked has been moved away, and another folder has its name

    @classmethod
    def seize(cls, folder: Path) -> FolderLock | None:
        """Lock a folder unless another process works on it; one that only asks whether it is locked is waited for.

        Args:
            folder: an existing folder.

        Returns:
            The lock, or None where another process keeps it.

        Raises:
            FileNotFoundError: if the folder is gone.
        """
        for _ in range(_TRIES):
            lock = cls.take(folder, wait=False)
            if lock is not None:
                return lock
            time.sleep(_PAUSE_S)
        return None

    def release(self) -> None:
        """Give the lock back; harmless when already done."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock for the length of a block, waiting for it.

    Raises:
        FileNotFoundError: if the folder is gone.
    """
    lock = FolderLock.take(folder, wait=True)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def is_locked(folder: Path) -> bool:
    """Whether some process holds the folder's lock; nobody holds that of a folder that is gone."""
    try:
        lock = FolderLock.take(folder, wait=False, shared=True)
    except FileNotFoundError:
        return False
    except PermissionError:  # nobody can tell
        return True
    if lock is None:
        return True
    lock.release()
    return False
