"""What a source or an operation may keep between calls, whoever stores it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rashomon_cli.core.results import Array


class ArrayCache(Protocol):
    """Named arrays by key; any entry may vanish at any time."""

    def load(self, key: str) -> dict[str, Array] | None:
        """The arrays kept under a key, or None."""
        ...

    def save(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays under a key."""
        ...


class NoCache:
    """A cache that keeps nothing."""

    def load(self, key: str) -> dict[str, Array] | None:
        """Nothing is found."""
        return None

    def save(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Nothing is kept."""
